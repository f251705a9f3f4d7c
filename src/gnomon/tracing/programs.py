"""The programs of bpf/, loaded as far as this kernel lets them, with maps in common."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Self

from gnomon._errors import TracingError
from gnomon.tracing import nccl_functions, operations
from gnomon.tracing.btf import Btf, read_kernel_btf
from gnomon.tracing.loader import LoadedObject, load
from gnomon.tracing.maps import Map
from gnomon.tracing.object_file import read_object
from gnomon.tracing.requirements import LACK, since

OBJECTS = Path(__file__).parents[1] / "data" / "bpf"
# Later ones share the maps of earlier ones. Without these two nothing can be traced.
REQUIRED = ("process", "calls")
FAMILIES = ("interrupts", "process", "scheduler", "calls", "nccl", "block", "faults", "network")


class Lacking(NamedTuple):
    """A family of programs that this kernel refused, what is not seen without it, and why."""

    family: str
    what: str
    reason: str
    remedy: str


class Programs:
    """All programs in the kernel, attached to nothing yet. Use in a ``with`` statement.

    Raises TracingError where a family of REQUIRED is refused; others are in ``lacking``.
    """

    def __init__(
        self, kernel: Btf | None = None, *, follow_children: bool, uprobe_multi: bool
    ) -> None:
        """``kernel``: the kernel's types, read where they are not given."""
        kernel = kernel or read_kernel_btf()
        self.objects: dict[str, LoadedObject] = {}
        self.maps: Mapping[str, Map] = {}
        self.lacking: list[Lacking] = []
        with ExitStack() as owned:
            for family in FAMILIES:
                path = OBJECTS / f"{family}.bpf.o"
                try:
                    file = read_object(path)
                    for name, value in _constants(family, follow_children).items():
                        file.set_constant(name, value)
                    made = load(file, shared=self.maps, kernel=kernel, uprobe_multi=uprobe_multi)
                except TracingError as error:
                    if family in REQUIRED:
                        raise
                    remedy = since(family) or error.remedy
                    lack = Lacking(family, LACK[family], error.reason, remedy)
                    self.lacking.append(lack)
                    continue
                self.objects[family] = owned.enter_context(made)
                self.maps = {**made.maps, **self.maps}
            self._owned = owned.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Take everything out of the kernel; a second time does nothing."""
        self._owned.close()

    def attach_tracepoints(self) -> None:
        """Attach what hangs on tracepoints: the scheduler, processes, block requests and so on."""
        for made in self.objects.values():
            for name, program in made.programs.items():
                if program.spec.section.startswith("tp_btf/"):
                    made.attach_tracepoint(name)


def _constants(family: str, follow_children: bool) -> Mapping[str, bytes | int]:  # noqa: FBT001
    if family == "calls":
        return {"operations": operations.description()}
    if family == "nccl":
        return {
            "nccl_operations": operations.nccl_description(),
            "datatype_bytes": nccl_functions.datatype_bytes(),
        }
    if family == "process":
        return {"follow_children": int(follow_children)}
    return {}
