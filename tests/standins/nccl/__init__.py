"""Compile a stand-in for libnccl, over that for libcudart, and what a rank does with it."""

from __future__ import annotations

from pathlib import Path

from tests.standins import cudart

HERE = Path(__file__).parent


def build(folder: Path, built: cudart.Built) -> tuple[Path, Path]:
    """Compile into ``folder``: (libnccl.so.2, a library for the load's command "typed")."""
    library, rank = folder / "libnccl.so.2", folder / "rank.so"
    beside = [f"-Wl,-rpath,{built.runtime.parent}", built.runtime, built.driver]
    cudart.compile_library(library, HERE / "nccl.c", "-Wl,-soname,libnccl.so.2", *beside)
    cudart.compile_library(rank, HERE / "rank.c", f"-Wl,-rpath,{folder}", library)
    return library, rank
