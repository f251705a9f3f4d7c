"""What a file looks like, for whoever gave it to the wrong importer."""

from __future__ import annotations

import zlib
from pathlib import Path

from gnomon._errors import RecordingError

HEAD_BYTES = 16_384
SQLITE = b"SQLite format 3\0"
GZIP = b"\x1f\x8b"


def head(path: Path) -> bytes:
    """Return the beginning of a file, unpacked. Raises RecordingError where it cannot be read."""
    try:
        if not path.is_file():
            raise RecordingError(f"{path}: not a file")
        with path.open("rb") as file:
            found = file.read(HEAD_BYTES)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}") from error
    if found.startswith(GZIP):
        try:
            found = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(found, HEAD_BYTES)
        except zlib.error:
            return found
    return found


def text_head(path: Path, expected: str) -> bytes:
    """Return the beginning of a text. Raises RecordingError for what is compressed or no text."""
    found = head(path)
    with path.open("rb") as file:
        if file.read(len(GZIP)) == GZIP:
            raise RecordingError(f"{path}: is compressed; unpack it first: gunzip {path.name}")
    if b"\0" in found:
        raise refusal(path, expected, "it is no text")
    return found


def what_it_is(path: Path) -> tuple[str, str]:
    """Return what a file looks like and what to do with it, two empty texts for no idea."""
    found = head(path)
    text = found.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    lower = text.lower()
    if found.startswith(SQLITE):
        return "an SQLite file", "try `gnomon import nsys`, or `gnomon import ingero`"
    if path.suffix in (".nsys-rep", ".qdrep"):
        return "a report of Nsight Systems", "first run `nsys export --type sqlite` on it"
    if path.suffix == ".ncu-rep":
        return "a report of Nsight Compute", "first run `ncu --import FILE --csv --page raw`"
    if text.startswith(("{", "[")) and ('"traceevents"' in lower or '"ph"' in lower):
        return "a PyTorch (Chrome) trace", "try `gnomon import kineto`"
    if '"kernel name"' in lower or '"metric name"' in lower:
        return "a CSV of Nsight Compute", "try `gnomon import ncu`"
    return _what_text_it_is(lower)


def _what_text_it_is(lower: str) -> tuple[str, str]:
    for line in lower.splitlines():
        words = line.replace(",", " ").replace("#", " ").split()
        if words[:1] == ["entity"]:
            return "what `dcgmi dmon` prints", "try `gnomon import dcgmi`"
        if line.lstrip().startswith("#") and "gpu" in words:
            return "what `nvidia-smi dmon` prints", "try `gnomon import dmon`"
        if "utilization.gpu" in line or "power.draw" in line or "clocks.sm" in line:
            return "a CSV of `nvidia-smi --query-gpu`", "try `gnomon import query-gpu`"
        if line.startswith("t_unix"):
            return "a CSV of a GPM sampler", "try `gnomon import gpm-csv`"
    return "", ""


def refusal(path: Path, expected: str, problem: str) -> RecordingError:
    """Return the error that a file is not what was expected, with what it seems to be."""
    looks_like, remedy = what_it_is(path)
    hint = f"; it looks like {looks_like}: {remedy}" if looks_like else ""
    return RecordingError(f"{path}: not {expected}: {problem}{hint}")
