"""Makes a calibration the one that ships for GPUs of its kind (``--constants shipped``).

    python -m benchmarks.ceiling_ship run2/calibration-1.json

Writes src/gnomon/performance_model/calibrations/<SKU>.json: the same document without the UUID of
the GPU, with six digits to a number and a line to a point.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).parents[1] / "src" / "gnomon" / "performance_model" / "calibrations"


def shipped(calibration: Mapping[str, Any]) -> str:
    """Return the text of the file that ships."""
    fields = {name: value for name, value in calibration.items() if name != "gpu_uuid"}
    points = [f"  {json.dumps(_rounded(point))}" for point in fields.pop("points")]
    text = json.dumps(_rounded(fields), indent=1).removesuffix("\n}")
    return f'{text},\n "points": [\n' + ",\n".join(points) + "\n ]\n}\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return value


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    calibration = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if calibration.get("sku") is None:
        print(f"benchmarks.ceiling_ship: {sys.argv[1]}: its GPU is not in the GPU table (sku)")
        return 2
    target = SHIPPED / f"{calibration['sku']}.json"
    target.write_text(shipped(calibration), encoding="utf-8")
    print(f"written to {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
