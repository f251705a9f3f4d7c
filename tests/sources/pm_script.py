"""What the stand-in of libcupti is told, for the tests of PM sampling."""

from tests.standins import DEFAULT_UUID

GPU = DEFAULT_UUID.format(index=0)
MS = 10**6
ROW = 100 * MS
T0 = 1_800_000_000 * 10**9  # a multiple of the row length
CYCLES = "sm__cycles_elapsed.max"
PCT = ".avg.pct_of_peak_sustained_elapsed"
SM = f"TPC.TriageCompute.sm__cycles_active{PCT}"
TENSOR = f"TPC.TriageCompute.sm__pipe_tensor_cycles_active_realtime{PCT}"
DRAM = f"FBSP.TriageCompute.dramc__throughput{PCT}"
READ = "PCI.TriageCompute.pcie__read_bytes.sum"
INTERVAL_US = 10_000
LIVE = f"live {CYCLES}=1e7 {SM}=50"


class Script:
    """Lines for the stand-ins, and the samples they replay."""

    def __init__(self, path):
        self.path = path
        self.lines = []
        self.end_ns = T0

    def add(self, *lines):
        self.lines += lines
        self.path.write_text("\n".join(self.lines) + "\n")

    def sample(self, length_ns=10 * MS, *, gap_ns=0, **values):
        start_ns = self.end_ns + gap_ns
        self.end_ns = start_ns + length_ns
        names = {"cycles": CYCLES, "sm": SM, "tensor": TENSOR, "dram": DRAM, "read": READ}
        words = " ".join(f"{names[key]}={value!r}" for key, value in values.items())
        self.add(f"sample {start_ns} {self.end_ns} {words}")

    def first_sample(self):
        """The first after a start begins long before it, as on an H200."""
        self.add(f"sample {T0 - 700 * MS} {T0} {CYCLES}=1 {SM}=100")

    def row(self, **values):
        for _ in range(10):
            self.sample(**values)
