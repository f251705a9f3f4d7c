"""Print, joined by semicolons, the header directories of NVIDIA's wheels that Python can see."""

import sys
from pathlib import Path

found = [
    directory
    for entry in sys.path
    for directory in sorted(Path(entry or ".").glob("nvidia/*/include"))
    if (directory / "cuda.h").exists() or (directory / "cupti_pmsampling.h").exists()
]
print(";".join(str(directory) for directory in found))
