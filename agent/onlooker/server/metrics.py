"""What the server tells Prometheus about itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final
from weakref import WeakKeyDictionary

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from onlooker.observe.recorder import Counters
from onlooker.recording import truth
from onlooker.version import VERSION
from onlooker.watch import Watch

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_PAUSE_BUCKETS_S: Final = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2, 1e-1)
_HELP: Final = {
    "samples": "Stacks that were read, one for each thread looked at.",
    "torn": "Reads that were thrown away because the stack moved meanwhile.",
    "retried": "Samples that needed more than one read.",
    "displaced": "Samples of threads whose CPU was taken for them to stand still.",
    "paused": "Samples for which a thread was stopped.",
    "late": "Moments to sample that were left out.",
    "lost": "Samples given up because no read settled.",
}


class Metrics:
    """Counts, without labels for processes, for those come and go without end."""

    def __init__(self, *, targets: Callable[[], int], working: Callable[[], int]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the text for nothing
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        info = self._gauge("build_info", "Which Onlooker this is.", "version")
        info.labels(version=VERSION).set(1)
        self._gauge("targets", "Processes that are open.").set_function(targets)
        self._gauge("profiles_in_progress", "Profiles being made.").set_function(working)
        self._requests = Counter(
            "onlooker_requests",
            "Requests answered, by what was asked for and the status code.",
            ("what", "code"),
            registry=self._registry,
        )
        self._hung_up = self._counter("requests_hung_up", "Requests whose client did not wait.")
        self._truth = {name: self._counter(name, text) for name, text in _HELP.items()}
        self._watches: WeakKeyDictionary[Watch, Counters] = WeakKeyDictionary()
        self._pauses = Histogram(
            "onlooker_pause_seconds",
            "How long threads were stopped; of each recording the latest stops.",
            buckets=_PAUSE_BUCKETS_S,
            registry=self._registry,
        )

    def request(self, what: str, code: int) -> None:
        """Count a request that was answered."""
        self._requests.labels(what, str(code)).inc()

    def hung_up(self) -> None:
        """Count a request whose client went away."""
        self._hung_up.inc()

    def recorded(self, counters: Counters, pauses_ns: Iterable[int]) -> None:
        """Count what a recording took; threads may call this."""
        for name, value in truth(counters):
            if name in self._truth:
                self._truth[name].inc(value)
        for pause_ns in pauses_ns:
            self._pauses.observe(pause_ns / 1e9)

    def watched(self, watch: Watch, counters: Counters | None) -> None:
        """Count what has been added to a recording in the background since it was last told of."""
        before = self._watches.get(watch)
        if counters is None or (before and counters.ticks < before.ticks):
            return  # nothing, or told late: who asked at the same time was told of more
        for name, value in truth(counters):
            if name in self._truth:
                self._truth[name].inc(value - (dict(truth(before))[name] if before else 0))
        self._watches[watch] = counters

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"onlooker_{name}", text, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"onlooker_{name}", text, labels, registry=self._registry)
