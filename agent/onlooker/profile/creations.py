"""What was seen of a process's threads being created. Pure data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from onlooker.profile.model import Labels, Location
from onlooker.profile.rows import Row, Thread


class Creations(NamedTuple):
    """The threads of a process: ``rows`` count those created meanwhile, by who did it.

    ``stack`` and ``threads`` name the rows' ids, ``values`` gives the labels of their ``values``.
    ``present`` are the stacks, leaf first, of the
    threads that had been there before.
    """

    rows: Iterable[Row]
    stack: Callable[[int], Sequence[Location]]
    threads: Mapping[int, Thread]
    present: Sequence[tuple[Location, ...]]
    values: Callable[[int], Labels] = lambda _: ()
