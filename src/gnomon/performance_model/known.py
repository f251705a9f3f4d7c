"""Well-known models that gnomon ships: their configs, reduced to the fields that matter."""

from __future__ import annotations

import difflib
import json
import re
from functools import cache
from importlib import resources
from typing import Any, cast

from gnomon._errors import ModelError

# Fine-tuned and converted releases have the architecture of the model they are made from.
_RELEASE = re.compile(r"-(hf|base|chat|instruct)$")


@cache
def names() -> tuple[str, ...]:
    """Return the names of the models, in alphabetical order."""
    files = resources.files("gnomon.performance_model").joinpath("models").iterdir()
    return tuple(
        sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json"))
    )


def find(name: str) -> str:
    """Return the known name that is meant: in either case, with or without its organisation.

    ``meta-llama/Llama-3.1-8B-Instruct`` is Llama-3.1-8B. Raises ModelError with the nearest names
    where there is none.
    """
    known = {known_name.casefold(): known_name for known_name in names()}
    wanted = name.strip().rpartition("/")[2].casefold()
    found = known.get(wanted) or known.get(_RELEASE.sub("", wanted))
    if found:
        return found
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
    listed = [known[key] for key in near] or list(names())
    raise ModelError(
        f"{name} is neither a file nor a known model; did you mean one of: {', '.join(listed)}? "
        "Any other model is read from its config.json"
    )


def config(name: str) -> dict[str, Any]:
    """Return the config of a model by its known name (of ``names``)."""
    file = resources.files("gnomon.performance_model").joinpath("models", f"{name}.json")
    return cast("dict[str, Any]", json.loads(file.read_text(encoding="utf-8")))
