"""Print, joined by semicolons, the header directories of NVIDIA's wheels that Python can see."""  # noqa: INP001

import sys
from pathlib import Path

found = [
    directory
    for entry in sys.path
    for directory in Path(entry or ".").glob("nvidia/*/include")
    if (directory / "cuda.h").exists() or (directory / "cupti_pmsampling.h").exists()
]
# The wheels of CUDA 12 (cuda_cupti, cuda_runtime) before those of 13 (cu13): oldest first.
found.sort(key=lambda directory: (directory.parent.name[2:].isdigit(), directory))
sys.stdout.write(";".join(str(directory) for directory in found))
