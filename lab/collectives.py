"""Collectives of known number and size on all GPUs of a host, and one rank that comes late.

    gnomon trace -o run1 -- python -m lab.collectives --truth truth.json
    python -m lab.collectives --check run1 --truth truth.json

A process a GPU, PyTorch over NCCL. ``late``: the last rank sleeps before each all-reduce, which the
others wait for. The truth says, by NCCL's name of a call, how many each rank made and the bytes
that it brought in; ``--check`` holds a recording against it and exits 1 where they differ.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

COUNT = 23
ELEMENTS = 1 << 20  # of float32
LATE_MS = 20
LATE_TIMES = 100


def work(rank: int, ranks: int, meeting: Path, truth: Path) -> None:
    """Do one rank's collectives; rank 0 writes the truth."""
    import torch
    import torch.distributed as dist

    torch.cuda.set_device(rank)
    device = torch.device("cuda", rank)
    dist.init_process_group(
        "nccl", f"file://{meeting}", rank=rank, world_size=ranks, device_id=device
    )
    whole = torch.ones(ELEMENTS, device=device)
    many = torch.ones(ELEMENTS * ranks, device=device)
    other = torch.ones(ELEMENTS, device=device)
    for _ in range(COUNT):
        dist.all_reduce(whole)
        dist.all_gather_into_tensor(many, whole)
        dist.reduce_scatter_tensor(whole, many)
        dist.broadcast(whole, 0)
        peers = ((rank + 1) % ranks, (rank - 1) % ranks)
        messages = [
            dist.P2POp(dist.isend, whole, peers[0]),
            dist.P2POp(dist.irecv, other, peers[1]),
        ]
        for one in dist.batch_isend_irecv(messages):
            one.wait()
    torch.cuda.synchronize()
    from_ns = time.time_ns()
    for _ in range(LATE_TIMES):
        if rank == ranks - 1:
            time.sleep(LATE_MS / 1e3)
        dist.all_reduce(whole)
        torch.cuda.synchronize()
    late = {"rank": ranks - 1, "from_ns": from_ns, "to_ns": time.time_ns()}
    if rank == 0:
        late["lost_ns"] = LATE_TIMES * LATE_MS * 1_000_000
        made = [one for each in range(ranks) for one in made_by(each, ranks)]
        truth.write_text(json.dumps({"ranks": ranks, "calls": made, "late": late}))
    dist.destroy_process_group()


def made_by(rank: int, ranks: int) -> list[dict[str, str | int]]:
    """Return the calls of one rank, with the bytes that it brings in."""
    nbytes = 4 * ELEMENTS
    times = {
        ("ncclAllReduce", nbytes): COUNT + LATE_TIMES,
        ("ncclAllGather", nbytes): COUNT,
        ("ncclReduceScatter", nbytes * ranks): COUNT,
        # The name that PyTorch calls; only the root has something to give.
        ("ncclBcast", nbytes if rank == 0 else 0): COUNT,
        ("ncclSend", nbytes): COUNT,
        ("ncclRecv", 0): COUNT,
    }
    return [
        {"rank": rank, "operation": name, "bytes": size, "calls": calls}
        for (name, size), calls in times.items()
    ]


def run(truth: Path) -> int:
    """Start a process for each GPU and wait for all; the first failure's status."""
    import torch

    ranks = torch.cuda.device_count()
    if ranks < 2:
        print("needs two GPUs", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "lab.collectives", "--truth", str(truth)]
        command += ["--meeting", str(Path(folder) / "meeting"), "--ranks", str(ranks)]
        started = [subprocess.Popen([*command, "--rank", str(rank)]) for rank in range(ranks)]
        return max(one.wait() for one in started)


def check(recording: Path, truth: Path) -> int:
    """Hold the recorded calls against those made; print both, and what explain says of the rank."""
    known = json.loads(truth.read_text(encoding="utf-8"))
    seen = _ask(
        "query",
        str(recording),
        "SELECT operation, bytes, rank, world_size, count(*) AS calls "
        "FROM nccl_calls GROUP BY ALL ORDER BY ALL",
    )
    wrong = 0
    for one in known["calls"]:
        wanted = {name: one[name] for name in ("rank", "operation", "bytes")}
        found = [row for row in seen if wanted.items() <= row.items()]
        calls = sum(row["calls"] for row in found)
        has_all = all(row["world_size"] == known["ranks"] for row in found)
        is_right = calls == one["calls"] and has_all
        wrong += not is_right
        print(f"{wanted}: {calls} of {one['calls']}{'' if is_right else '  WRONG'}")
    sequences = (
        "SELECT count(*) AS n FROM (SELECT communicator, sequence FROM nccl_calls "
        "WHERE sequence IS NOT NULL GROUP BY ALL HAVING count(DISTINCT rank) <> "
        f"{known['ranks']} OR count(DISTINCT operation) <> 1)"
    )
    (unmatched,) = _ask("query", str(recording), sequences)
    print(f"collectives that are not on all ranks alike: {unmatched['n']}")
    said = _ask("explain", str(recording))["findings"]
    for one in said:
        print(f"{one['severity']} {one['cause']} pid {one['pid']} {one.get('lost_seconds')} s")
    late = [one for one in said if one["cause"] == "collective_straggler"]
    print(f"the last rank slept {known['late']['lost_ns'] / 1e9:.3g} s before collectives")
    for one in late:
        print(json.dumps([proof["text"] for proof in one["evidence"]], indent=1))
    return 1 if wrong or unmatched["n"] or not late else 0


def _ask(*arguments: str) -> Any:
    command = [sys.executable, "-m", "gnomon", *arguments, "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    return json.loads(done.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description="Collectives of known number and size.")
    parser.add_argument("--truth", type=Path, required=True, help="JSON to write, or to hold to")
    parser.add_argument("--check", type=Path, metavar="RECORDING")
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--ranks", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--meeting", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.check:
        return check(options.check, options.truth)
    if options.rank is None:
        return run(options.truth)
    work(options.rank, options.ranks, options.meeting, options.truth)
    return 0


if __name__ == "__main__":
    sys.exit(main())
