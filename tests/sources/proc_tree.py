"""A /proc and a /sys of our own making, to be read like the kernel's."""

from pathlib import Path

GIB = 1 << 30


class ProcTree:
    """Files under ``proc`` and ``sys`` of a directory; counters are what a test sets."""

    def __init__(self, root: Path) -> None:
        self.proc = root / "proc"
        self.sys = root / "sys"
        self.write("sys/kernel/random/boot_id", "b007\n")
        self.write("self/schedstat", "1000 10 5\n")
        self.loadavg(1.5)
        self.memory(total=64 * GIB, available=16 * GIB, swap_total=8 * GIB, swap_free=7 * GIB)
        self.cpus((0, 100, 0, 0), (0, 100, 0, 0))
        self.network({"lo": (0, 0), "eth0": (0, 0)}, cards=("eth0",))
        self.disks({"sda": (0, 0)}, whole=("sda",))
        for kind in ("cpu", "memory", "io"):
            self.pressure(kind, 0)

    def write(self, name: str, text: str) -> None:
        path = self.proc / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def cpus(self, *each, context_switches=0, runnable=1):
        """Set (used, idle, iowait, steal) ticks of every CPU; the first line is their sum."""
        total = [sum(values) for values in zip(*each, strict=True)]
        lines = [("cpu", total), *((f"cpu{n}", one) for n, one in enumerate(each))]
        text = "".join(f"{name} {u} 0 0 {i} {w} 0 0 {s} 0 0\n" for name, (u, i, w, s) in lines)
        self.write("stat", f"{text}ctxt {context_switches}\nprocs_running {runnable}\n")

    def loadavg(self, one_minute):
        self.write("loadavg", f"{one_minute} 1.0 1.0 1/100 42\n")

    def memory(self, total, available, swap_total, swap_free):
        self.write(
            "meminfo",
            f"MemTotal: {total // 1024} kB\nMemAvailable: {available // 1024} kB\n"
            f"SwapTotal: {swap_total // 1024} kB\nSwapFree: {swap_free // 1024} kB\n",
        )

    def pressure(self, kind, total_us):
        self.write(f"pressure/{kind}", f"some avg10=0 avg60=0 avg300=0 total={total_us}\n")

    def network(self, interfaces, cards=()):
        lines = [
            f"{n}: {rx} 1 0 0 0 0 0 0 {tx} 1 0 0 0 0 0 0" for n, (rx, tx) in interfaces.items()
        ]
        self.write("net/dev", "header\nheader\n" + "\n".join(lines) + "\n")
        for card in cards:
            (self.sys / "class/net" / card / "device").mkdir(parents=True, exist_ok=True)

    def disks(self, devices, whole=()):
        lines = [
            f" 8 0 {name} 1 0 {read // 512} 0 1 0 {written // 512} 0 0 0 0\n"
            for name, (read, written) in devices.items()
        ]
        self.write("diskstats", "".join(lines))
        for disk in whole:
            (self.sys / "block" / disk / "device").mkdir(parents=True, exist_ok=True)

    def process(self, pid, threads, *, cpu_ticks=0, io=(0, 0), rss_pages=100, start=555, state="S"):
        """Set a process; ``threads`` is tid -> (name, run_ns, wait_ns)."""
        fields = f"1 1 1 0 -1 0 0 0 0 0 {cpu_ticks} 0 0 0 20 0 {len(threads)} 0 {start} 0 0"
        self.write(f"{pid}/stat", f"{pid} (serve r) {state} {fields}\n")
        self.write(f"{pid}/statm", f"999 {rss_pages} 0 0 0 0 0\n")
        self.write(f"{pid}/io", f"rchar: 1\nread_bytes: {io[0]}\nwrite_bytes: {io[1]}\n")
        for tid, (name, run_ns, wait_ns) in threads.items():
            self.write(f"{pid}/task/{tid}/comm", f"{name}\n")
            self.write(f"{pid}/task/{tid}/schedstat", f"{run_ns} {wait_ns} 1\n")
            self.write(f"{pid}/task/{tid}/stat", f"{tid} ({name}) S {fields}\n")
