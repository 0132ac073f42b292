"""Makes profiles of memory, as Go's heap and allocs: who holds it, who has allocated it."""

from __future__ import annotations

from collections.abc import Iterable
from math import expm1
from typing import Final, Literal, NamedTuple

from onlooker.profile.bootstrap import without_glue
from onlooker.profile.kinds import KINDS
from onlooker.profile.model import Labels, Location, Mapping, Profile, Sample

Source = Literal["auto", "objects", "tracemalloc"]
SOURCES: Final[tuple[Source, ...]] = ("auto", "objects", "tracemalloc")
"""Where a heap profile comes from."""

HeapBy = Literal["path", "type", "module"]
HEAP_BY: Final[tuple[HeapBy, ...]] = ("path", "type", "module")
"""What the stacks of objects are: what holds them, their type alone, the module of that."""

_SIZE: Final = "bytes"
"""The label that says how large one object is on average."""


def scale_heap_sample(count: int, size: int, rate: int) -> tuple[int, int]:
    """Estimate how many objects, and bytes, there are of a sample of ``count`` with ``size`` bytes.

    One object was sampled for every ``rate`` bytes allocated, on average. An object of s bytes is
    then in the sample with the probability 1 - exp(-s / rate). A rate of 1 samples everything, and
    below 1 it is unknown: both leave the numbers as they are. It is scaleHeapSample of Go's
    runtime/pprof/protomem.go, which rounds down, too.
    """
    if count == 0 or size == 0:
        return 0, 0
    if rate <= 1:
        return count, size
    scale = _scale(size / count, rate)
    return int(count * scale), int(size * scale)


def sampled(sample: Sample, rate: int) -> tuple[int, ...]:
    """Return the values of a profile's sample as they were before scale_heap_sample."""
    size = next((value for key, value in sample.labels if key == _SIZE), 0)
    if rate <= 1 or not isinstance(size, int) or not size:
        return sample.values
    scale = _scale(size, rate)
    return tuple(_unscaled(value, scale) for value in sample.values)


def without_size(labels: Labels) -> Labels:
    """Return the labels but the size of the objects, which follows from the values."""
    return tuple(label for label in labels if label[0] != _SIZE)


def _scale(object_size: float, rate: int) -> float:
    return -1 / expm1(-object_size / rate)


def _unscaled(value: int, scale: float) -> int:
    # Scaling takes away less than what one more object or byte adds.
    least = int(value / scale)
    return least if int(least * scale) == value else least + 1


class HeapSite(NamedTuple):
    """What holds memory, or has allocated it: one stack, leaf first, and one size of objects.

    All numbers are of the sample, not scaled. ``labels`` are, for example, ``(("type", "dict"),)``.
    """

    stack: tuple[Location, ...]
    inuse_objects: int
    inuse_bytes: int
    alloc_objects: int
    alloc_bytes: int
    labels: Labels = ()

    @property
    def object_size(self) -> int:
        """Bytes of one object on average, rounded down; 0 if there is none."""
        if self.alloc_objects:
            return self.alloc_bytes // self.alloc_objects
        return self.inuse_bytes // self.inuse_objects if self.inuse_objects else 0


def build_heap(
    kind: str,
    sites: Iterable[HeapSite],
    *,
    rate: int,
    time_ns: int,
    comments: tuple[str, ...],
    mapping: Mapping,
    duration_ns: int = 0,
    all_frames: bool = False,
) -> Profile:
    """Return the profile: ``kind`` is ``heap`` or ``allocs``, which differ in what is shown first.

    ``rate`` is how many bytes were allocated for each object sampled, 1 if all were. Equal stacks
    with equal labels and sizes of objects are one sample; what holds most comes first. Frames that
    only import or start other code are left out unless ``all_frames``.
    """
    shown = KINDS[kind]
    totals: dict[tuple[tuple[Location, ...], Labels], list[int]] = {}
    for site in sites:
        size = site.object_size
        labels = ((_SIZE, size), *site.labels) if size else site.labels
        stack = site.stack if all_frames else tuple(without_glue(site.stack))
        total = totals.setdefault((stack, labels), [0, 0, 0, 0])
        total[0] += site.alloc_objects
        total[1] += site.alloc_bytes
        total[2] += site.inuse_objects
        total[3] += site.inuse_bytes
    samples = []
    for (stack, labels), total in totals.items():
        allocated = scale_heap_sample(total[0], total[1], rate)
        inuse = scale_heap_sample(total[2], total[3], rate)
        if any(allocated) or any(inuse):
            samples.append(Sample(stack, (*allocated, *inuse), labels))
    return Profile(
        kind=shown.name,
        sample_types=shown.sample_types,
        period_type=shown.period_type,
        period=rate,
        time_ns=time_ns,
        duration_ns=duration_ns,
        samples=sorted(samples, key=_order),
        comments=comments,
        mapping=mapping,
        default_sample_type=shown.default_sample_type,
    )


def _order(sample: Sample) -> tuple[object, ...]:
    stack, (alloc_objects, alloc_bytes, inuse_objects, inuse_bytes), labels = sample
    # A label's values may be of both types, which have no order.
    return -inuse_bytes, -alloc_bytes, -inuse_objects, -alloc_objects, stack, str(labels)
