"""How many (query, key) pairs attention computes, and how many keys it reads.

A sequence brings ``new`` tokens after ``cached`` ones; the j-th of them sees the cached ones, its
predecessors and itself: cached + j keys, or the last ``window`` of them. Lengths may be means and
so need not be whole. The sums are closed forms; a brute-force count in the tests is their proof.
"""

from __future__ import annotations

CONVENTIONS = ("causal", "full")
"""``causal`` is what kernels compute. ``full`` counts the whole rectangle, as PaLM (appendix B,
arXiv 2204.02311), nanoGPT, torchtitan and MosaicML do; for comparison with their figures only."""


def pairs(new: float, cached: float, window: int | None, convention: str = "causal") -> float:
    """Return the pairs of one sequence in one layer, by a convention of ``CONVENTIONS``.

    causal: sum over j = 1..new of min(cached + j, window); full: new x min(cached + new, window).
    """
    if convention == "full":
        return new * min(cached + new, window or float("inf"))
    if window is None or cached + new <= window:
        return new * cached + new * (new + 1) / 2
    # The first tokens still see everything before them, the rest see a whole window.
    growing = max(0.0, min(new, window - cached))
    return growing * cached + growing * (growing + 1) / 2 + (new - growing) * window


def keys(new: float, cached: float, window: int | None) -> float:
    """Return the distinct keys that the new tokens of one sequence read, themselves included.

    Each is read once from DRAM: a fused kernel's further reads are served by L2.
    """
    return new + (cached if window is None else min(cached, window - 1))
