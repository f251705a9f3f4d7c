"""Truths and findings made up for tests."""

from lab.scenarios.truth import Injected, Truth

SECOND = 1_000_000_000


def truth(name="cpu_contention", *, fault=True, accepted=(), clocks=None, **injected):
    """Return the truth of ten seconds."""
    return Truth(
        name=name,
        variant="always",
        fault=fault,
        seed=0,
        expected=name if fault else None,
        accepted=accepted,
        from_ns=SECOND,
        to_ns=11 * SECOND,
        pid=7,
        tid=7,
        steps=500,
        kernels=10_000,
        injected=Injected(**injected),
        clocks=clocks or {},
    )


def finding(cause="cpu_contention", severity="critical", *, thread_seconds=None, said=(), pid=7):
    """Return a finding as ``gnomon explain --json`` prints it, as far as it is looked at."""
    return {
        "cause": cause,
        "severity": severity,
        "pid": pid,
        "thread_seconds": thread_seconds,
        "lost_seconds": None,
        "evidence": [{"text": text, "value": 1} for text in said],
    }


def explanation(*findings, failed=None, **looked_at):
    """Return what ``gnomon explain --json`` prints, as far as it is looked at."""
    seen = {"dispatch_threads": 1, "stays_off_cpu": 9, "gpus": 1} | looked_at
    return {"findings": list(findings), "failed": failed or {}, "looked_at": seen}
