"""What the pages about the ceiling say in numbers, to be held against what the program computes."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


class Sentences:
    """Decorates what computes the numbers of a sentence; its docstring is the sentence.

    A page has its sentences in the order of their functions.
    """

    def __init__(self):
        self._computations = []

    def __call__(self, compute):
        self._computations.append(compute)
        return compute

    def filled(self):
        """Return the sentences with their numbers."""
        return [
            " ".join(compute.__doc__.split()).format(*compute()) for compute in self._computations
        ]


def worked(name):
    """Return the worked lines of a page: those that begin with ``> ``."""
    return [line[2:] for line in (DOCS / name).read_text().splitlines() if line.startswith("> ")]


def third_cells(name):
    """Return what a table with a verdict in its second column says in its third."""
    row = re.compile(r"^\| .+ \| (?:right|wrong|in part) \| (.+) \|$", re.MULTILINE)
    return row.findall((DOCS / name).read_text())
