"""Graphs of objects as Python has them, and what it means to own in them, from the definitions.

Everything here is found the slow way: by taking a node out and looking what is still reached.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from onlooker._native import ffi, lib

ROOT = 0
LARGE = 1 << 31

Step = tuple[int, int]
"""A label and a type."""


class Edge(NamedTuple):
    source: int
    target: int
    label: int
    borrowed: bool


class Root(NamedTuple):
    tier: int
    target: int
    label: int


@dataclass(frozen=True)
class HeapGraph:
    """Nodes are 1 to len(types) - 1; edges are sorted by their source, roots by tier."""

    types: list[int]
    sizes: list[int]
    edges: list[Edge]
    roots: list[Root]

    @property
    def nodes(self) -> range:
        return range(1, len(self.types))

    def native(self) -> tuple[Any, object]:
        """The graph as C has it, and what it must not outlive."""
        first = [0] * (len(self.types) + 1)
        for edge in self.edges:
            first[edge.source + 1] += 1
        for node in range(len(self.types)):
            first[node + 1] += first[node]
        large = [size for size in self.sizes if size >= LARGE]
        places = iter(range(len(large)))
        borrowed = lib.ONLOOKER_EDGE_BORROWED
        arrays = {
            "first_edge": first,
            "targets": [edge.target for edge in self.edges],
            "labels": [edge.label | (borrowed if edge.borrowed else 0) for edge in self.edges],
            "types": self.types,
            "bytes": [size if size < LARGE else LARGE | next(places) for size in self.sizes],
            "roots": [root.target for root in self.roots],
            "root_labels": [root.label for root in self.roots],
        }
        kept = {name: ffi.new("uint32_t[]", values) for name, values in arrays.items()}
        kept["root_tiers"] = ffi.new("uint8_t[]", [root.tier for root in self.roots])
        kept["large_bytes"] = ffi.new("uint64_t[]", large)
        counts = {
            "nodes": len(self.types),
            "edges": len(self.edges),
            "root_count": len(self.roots),
            "large_count": len(large),
        }
        return ffi.new("graph *", {**kept, **counts}), kept


class Ownership:
    """Who owns what in a graph."""

    def __init__(self, graph: HeapGraph) -> None:
        self.graph = graph
        self.tiers: dict[int, tuple[str, int]] = {}
        """Of each node: `owned` or `late` and the tier, or `unowned`."""
        self.held: dict[int, int] = {}
        """What the virtual root holds, and by which label."""
        claimed = {e.target for e in graph.edges if not e.borrowed and e.source != e.target}
        claimed |= {root.target for root in graph.roots}
        self._owning = [e for e in graph.edges if not e.borrowed or e.target not in claimed]
        numbers = sorted({root.tier for root in graph.roots})
        for tier in numbers:
            starts = [
                r.target for r in graph.roots if r.tier == tier and r.target not in self.tiers
            ]
            for root in graph.roots:
                if root.tier == tier and root.target in starts:
                    self.held[root.target] = min(root.label, self.held.get(root.target, root.label))
            self._claim(reached(starts, self._owning), ("owned", tier))
        for tier in numbers:
            starts = [node for node, of in self.tiers.items() if of == ("owned", tier)]
            late = [edge for edge in graph.edges if edge.target not in self.tiers]
            self._claim(reached(starts, late), ("late", tier))
        self.unreachable = {node for node in graph.nodes if node not in self.tiers}
        for node in self._nothing_else_holds():
            self.held[node] = lib.ONLOOKER_LABEL_UNREACHABLE
        self._claim(self.unreachable, ("unowned", 0))

    def _claim(self, nodes: Iterable[int], tier: tuple[str, int]) -> None:
        for node in nodes:
            self.tiers.setdefault(node, tier)

    def _nothing_else_holds(self) -> Iterator[int]:
        """Of each set of nodes that reach each other and that no other reaches, the first node."""
        among = [e for e in self.graph.edges if {e.source, e.target} <= self.unreachable]
        reach = {node: reached([node], among) for node in self.unreachable}
        for node in sorted(self.unreachable):
            holders = {other for other in self.unreachable if node in reach[other]}
            if node == min(holders) and holders <= reach[node]:
                yield node

    @cached_property
    def edges(self) -> list[Edge]:
        """Those that count."""
        return [edge for edge in self.graph.edges if self._counts(edge)]

    def _counts(self, edge: Edge) -> bool:
        source, target = self.tiers[edge.source], self.tiers[edge.target]
        if source[0] == target[0] == "owned":
            return source[1] == target[1] and edge in self._owning
        if target[0] == "late":
            return source[0] != "unowned" and source[1] == target[1]
        return source == target

    @cached_property
    def dominated(self) -> dict[int, set[int]]:
        """By node, what is not reached without it; itself too."""
        out = {}
        for node in self.graph.nodes:
            starts = [held for held in self.held if held != node]
            edges = [e for e in self.edges if node not in (e.source, e.target)]
            out[node] = set(self.graph.nodes) - reached(starts, edges)
        return out

    @cached_property
    def owners(self) -> dict[int, int]:
        """The nearest dominator of each node: the one that dominates least."""
        out = {}
        for node in self.graph.nodes:
            others = [d for d in self.graph.nodes if d != node and node in self.dominated[d]]
            out[node] = min(others, key=lambda d: len(self.dominated[d]), default=ROOT)
        return out

    def retained(self, node: int) -> int:
        return sum(self.graph.sizes[owned] for owned in self.dominated[node])

    def step(self, node: int) -> Step:
        owner = self.owners[node]
        if owner == ROOT:
            unknown = (
                lib.ONLOOKER_LABEL_UNREACHABLE
                if node in self.unreachable
                else lib.ONLOOKER_LABEL_SHARED
            )
            return self.held.get(node, unknown), self.graph.types[node]
        labels = [e.label for e in self.edges if (e.source, e.target) == (owner, node)]
        return min(labels, default=lib.ONLOOKER_LABEL_SHARED), self.graph.types[node]

    @cached_property
    def paths(self) -> dict[int, tuple[Step, ...]]:
        """The folded path of each node."""
        paths: dict[int, tuple[Step, ...]] = {ROOT: ()}
        for node in sorted(self.graph.nodes, key=lambda n: -len(self.dominated[n])):
            paths[node] = extend(paths[self.owners[node]], self.step(node))
        return paths


def reached(starts: Iterable[int], edges: Iterable[Edge]) -> set[int]:
    """What edges lead to from the nodes `starts`, these included."""
    targets = defaultdict(list)
    for edge in edges:
        targets[edge.source].append(edge.target)
    found, waiting = set(starts), list(starts)
    while waiting:
        for target in targets[waiting.pop()]:
            if target not in found:
                found.add(target)
                waiting.append(target)
    return found


def extend(path: tuple[Step, ...], step: Step) -> tuple[Step, ...]:
    """The path with one more step, folded."""
    for end in range(len(path), max(0, len(path) - lib.ONLOOKER_PATH_LOOKBACK), -1):
        if path[end - 1] == step:
            return path[:end]
    return (*path, step) if len(path) < lib.ONLOOKER_PATH_DEPTH else path


def random_graph(seed: int, most_nodes: int) -> HeapGraph:
    """Cycles, shared parts, several edges between two nodes, edges to oneself, garbage."""
    rng = random.Random(seed)
    nodes = range(1, rng.randint(1, most_nodes) + 1)
    density = rng.choice((0.5, 1, 1.5, 2, 3))
    borrowed = rng.choice((0, 0, 0.1, 0.3, 0.7))
    labels, types = rng.choice((1, 2, 5)), rng.choice((1, 2, 4))
    near = rng.random() < 0.3  # a long thin graph rather than a bushy one
    edges = []
    for _ in range(int(len(nodes) * density)):
        source = rng.choice(nodes)
        target = min(nodes[-1], max(1, source + rng.randint(-2, 3))) if near else rng.choice(nodes)
        label = rng.randrange(labels) if rng.random() < 0.9 else rng.randrange(1 << 30)
        edges.append(Edge(source, target, label, rng.random() < borrowed))
    tiers = rng.choice((1, 2, 3, 6))
    roots = [
        Root(rng.randrange(tiers), rng.choice(nodes), 100 + rng.randrange(labels))
        for _ in range(rng.randint(0, 1 + len(nodes) // rng.choice((1, 3, 10))))
    ]
    sizes = [rng.choice((0, 16, 48, 1 << 20, LARGE, 1 << 40)) for _ in range(len(nodes) + 1)]
    sizes[ROOT] = 0
    return HeapGraph(
        types=[0, *(rng.randrange(types) for _ in nodes)],
        sizes=sizes,
        edges=sorted(edges, key=lambda edge: edge.source),
        roots=sorted(roots, key=lambda root: root.tier),
    )
