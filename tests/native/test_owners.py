"""Who owns what, against definitions that are followed the slow way."""

from array import array
from collections import Counter
from collections.abc import Callable

import pytest
from onlooker._native import ffi, lib
from onlooker.errors import OnlookerError
from onlooker.observe.owners import LABEL_ROOT, LABEL_SHARED, LABEL_UNREACHABLE, Owners

from tests.native.heap_graphs import Edge, HeapGraph, Ownership, Root, Step, extend, random_graph


def written_out(owners: Owners) -> list[tuple[Step, ...]]:
    """Every path with its steps from the root on."""
    paths = owners.paths()
    assert paths[0].label == LABEL_ROOT
    out: list[tuple[Step, ...]] = [()]
    for index, path in enumerate(paths[1:], 1):
        assert path.parent < index
        out.append((*out[path.parent], (path.label, path.type)))
        assert path.depth == len(out[index])
    assert len(set(out)) == len(out), "two paths are the same"
    return out


def check(graph: HeapGraph) -> None:
    truth = Ownership(graph)
    native, _kept = graph.native()
    with Owners(native) as owners:
        assert {node: owners.owner_of(node) for node in graph.nodes} == truth.owners
        retained = {node: truth.retained(node) for node in graph.nodes}
        assert {node: owners.retained(node) for node in graph.nodes} == retained
        assert owners.retained(0) == sum(graph.sizes)
        assert owners.unreachable == len(truth.unreachable)

        written = written_out(owners)
        assert {node: written[owners.path_of(node)] for node in graph.nodes} == {
            node: truth.paths[node] for node in graph.nodes
        }
        objects = Counter(truth.paths[node] for node in graph.nodes)
        sizes: Counter[tuple[Step, ...]] = Counter()
        for node in graph.nodes:
            sizes[truth.paths[node]] += graph.sizes[node]
        for steps, path in zip(written, owners.paths(), strict=True):
            assert (path.objects, path.size) == (objects[steps], sizes[steps])

        for kind in {*graph.types[1:], 77}:
            of_kind = [node for node in graph.nodes if graph.types[node] == kind]
            by_path = Counter(owners.path_of(node) for node in of_kind)
            assert {path: n for path, (n, _) in owners.count_type(kind).items()} == by_path
            assert sum(size for _, size in owners.count_type(kind).values()) == sum(
                graph.sizes[node] for node in of_kind
            )
            ranked = sorted(of_kind, key=lambda node: (-retained[node], node))
            for most in (0, 1, 3, 1000):
                assert owners.largest(kind, most) == ranked[:most]


@pytest.mark.parametrize("part", range(20))
def test_small_graphs(part: int) -> None:
    for seed in range(200 * part, 200 * (part + 1)):
        check(random_graph(seed, 10))


@pytest.mark.parametrize("part", range(10))
def test_graphs(part: int) -> None:
    for seed in range(10 * part, 10 * (part + 1)):
        check(random_graph(1_000_000 + seed, 70))


def graph_of(*edges: Edge, roots: list[Root], nodes: int) -> HeapGraph:
    """A graph whose objects are all of type 7 and have their index as their size."""
    return HeapGraph([7] * (nodes + 1), list(range(nodes + 1)), sorted(edges), roots)


def paths_of(graph: HeapGraph) -> list[list[int]]:
    """The labels of the path of each object."""
    native, _kept = graph.native()
    with Owners(native) as owners:
        written = written_out(owners)
        return [[label for label, _ in written[owners.path_of(node)]] for node in graph.nodes]


def test_what_two_share_is_their_owners() -> None:
    graph = graph_of(
        Edge(1, 2, 10, False),
        Edge(1, 3, 11, False),
        Edge(2, 4, 12, False),
        Edge(3, 4, 13, False),
        Edge(4, 5, 14, False),
        roots=[Root(0, 1, 1)],
        nodes=5,
    )
    shared = [1, LABEL_SHARED]
    assert paths_of(graph) == [[1], [1, 10], [1, 11], shared, [*shared, 14]]


def test_an_earlier_tier_owns_what_a_later_one_holds_too() -> None:
    graph = graph_of(
        Edge(1, 2, 10, False),
        Edge(3, 2, 11, False),
        Edge(3, 4, 12, False),
        roots=[Root(0, 1, 1), Root(2, 2, 2), Root(2, 3, 3)],
        nodes=4,
    )
    assert paths_of(graph) == [[1], [1, 10], [3], [3, 12]]


def test_a_borrower_owns_what_nobody_else_does() -> None:
    graph = graph_of(
        Edge(1, 2, 10, True),  # imported from the module 3, its home
        Edge(3, 2, 11, False),
        Edge(1, 4, 12, True),  # has no home
        Edge(1, 5, 13, True),  # has none but itself, by way of 6
        Edge(5, 6, 14, False),
        Edge(6, 5, 15, False),
        roots=[Root(0, 1, 1), Root(0, 3, 3)],
        nodes=6,
    )
    assert paths_of(graph) == [[1], [3, 11], [3], [1, 12], [1, 13], [1, 13, 14]]


def test_what_no_root_reaches_hangs_at_the_root() -> None:
    graph = graph_of(
        Edge(2, 3, 10, False),
        Edge(3, 2, 11, False),
        Edge(3, 4, 12, False),
        Edge(4, 1, 13, False),
        Edge(5, 5, 14, False),
        roots=[Root(0, 1, 1)],
        nodes=5,
    )
    none = LABEL_UNREACHABLE
    assert paths_of(graph) == [[1], [none], [none, 10], [none, 10, 12], [none]]


def deep(nodes: int, edges: Callable[[int], list[tuple[int, int]]]) -> tuple[object, object]:
    """A graph of so many objects of one type and size 1, each with (target, label)s, from 1 on."""
    first, targets, labels = array("I", [0, 0]), array("I"), array("I")
    for node in range(1, nodes + 1):
        for target, label in edges(node):
            if target <= nodes:
                targets.append(target)
                labels.append(label)
        first.append(len(targets))
    arrays = {
        "first_edge": first,
        "targets": targets,
        "labels": labels,
        "types": array("I", [7]) * (nodes + 1),
        "bytes": array("I", [1]) * (nodes + 1),
        "roots": array("I", [1]),
        "root_labels": array("I", [0]),
    }
    kept = {name: ffi.from_buffer("uint32_t[]", values) for name, values in arrays.items()}
    kept["root_tiers"] = ffi.new("uint8_t[]", 1)
    counts = {"nodes": nodes + 1, "edges": len(targets), "root_count": 1}
    return ffi.new("graph *", {**kept, **counts}), (kept, arrays)


MILLION = 1_000_000


def test_a_linked_list_is_one_path() -> None:
    native, _kept = deep(MILLION, lambda node: [(node + 1, 1), (max(node - 1, 1), 2)])
    with Owners(native) as owners:
        assert written_out(owners) == [(), ((0, 7),), ((0, 7), (1, 7))]
        assert [path.objects for path in owners.paths()] == [0, 1, MILLION - 1]
        assert owners.retained(1) == MILLION
        assert owners.retained(MILLION // 2) == MILLION // 2 + 1
        assert owners.largest(7, 3) == [1, 2, 3]


def test_a_tree_is_two_paths_below_its_root() -> None:
    native, _kept = deep(MILLION, lambda node: [(2 * node, 1), (2 * node + 1, 2)])
    with Owners(native) as owners:
        top, left, right = (0, 7), (1, 7), (2, 7)
        assert set(written_out(owners)) == {
            *((), (top,), (top, left), (top, right)),
            *((top, left, right), (top, right, left)),
        }
        assert owners.owner_of(MILLION) == MILLION // 2


def test_a_list_that_is_held_at_both_ends_is_shared() -> None:
    """Each node of a deep chain, and the node before it, is also held from its start."""
    native, _kept = deep(
        MILLION,
        lambda node: [(n, 3) for n in range(2, MILLION + 1)] if node == 1 else [(node + 1, 1)],
    )
    with Owners(native) as owners:
        assert written_out(owners) == [(), ((0, 7),), ((0, 7), (3, 7))]
        assert owners.owner_of(MILLION) == owners.owner_of(2) == 1


@pytest.mark.parametrize(("period", "nodes"), [(64, 500), (65, 150), (1000, 1000)])
def test_folding_and_depth_have_a_limit(period: int, nodes: int) -> None:
    native, _kept = deep(nodes, lambda node: [(node + 1, 1 + node % period)])
    path: tuple[Step, ...] = ()
    cut = 0
    with Owners(native) as owners:
        written = written_out(owners)
        for node in range(1, nodes + 1):
            step = (0 if node == 1 else 1 + (node - 1) % period, 7)
            path = extend(path, step)
            cut += path[-1] != step
            assert written[owners.path_of(node)] == path
        assert owners.cut == cut == max(0, nodes - 200 if period == 1000 else 0)


def test_more_paths_than_there_is_room_for() -> None:
    """Their objects count for their owner."""
    most = lib.ONLOOKER_PATHS
    native, _kept = deep(
        most + 10, lambda node: [(n, n) for n in range(2, most + 11)] if node == 1 else []
    )
    with Owners(native) as owners:
        paths = owners.paths()
        assert len(paths) == most
        assert owners.cut == 11
        assert paths[1].objects == 1 + 11
        assert sum(path.objects for path in paths) == most + 10


def edge_to(target: int) -> HeapGraph:
    return graph_of(Edge(1, target, 1, False), roots=[Root(0, 1, 1)], nodes=2)


@pytest.mark.parametrize(
    "graph",
    [
        pytest.param(edge_to(3), id="target beyond the nodes"),
        pytest.param(edge_to(0), id="edge to the virtual root"),
        pytest.param(graph_of(Edge(0, 1, 1, False), roots=[], nodes=1), id="edge from it"),
        pytest.param(graph_of(Edge(1, 1, LABEL_ROOT, False), roots=[], nodes=1), id="its label"),
        pytest.param(graph_of(roots=[Root(0, 1, LABEL_SHARED)], nodes=1), id="a root's label"),
        pytest.param(graph_of(roots=[Root(0, 2, 1)], nodes=1), id="root beyond the nodes"),
        pytest.param(graph_of(roots=[Root(0, 0, 1)], nodes=1), id="the virtual root as a root"),
        pytest.param(graph_of(roots=[Root(1, 1, 1), Root(0, 1, 1)], nodes=1), id="tiers fall"),
        pytest.param(graph_of(roots=[Root(6, 1, 1)], nodes=1), id="tier beyond the last"),
        pytest.param(HeapGraph([], [], [], []), id="not even the virtual root"),
    ],
)
def test_what_is_no_graph_is_refused(graph: HeapGraph) -> None:
    native, _kept = graph.native()
    with pytest.raises(OnlookerError, match="not a graph"):
        Owners(native)


def test_no_objects_at_all() -> None:
    native, _kept = graph_of(roots=[], nodes=0).native()
    with Owners(native) as owners:
        assert written_out(owners) == [()]
        assert owners.retained(0) == 0


def test_who_asks_for_a_node_that_is_not_there() -> None:
    native, _kept = graph_of(roots=[], nodes=1).native()
    with Owners(native) as owners:
        for ask in (owners.path_of, owners.owner_of, owners.retained):
            for node in (-1, 2):
                with pytest.raises(IndexError):
                    ask(node)


def test_it_ends_when_asked() -> None:
    native, _kept = deep(MILLION, lambda node: [(node + 1, 1)])
    with pytest.raises(KeyboardInterrupt):
        Owners(native, stop=lambda: True)


def test_it_ends_at_a_signal() -> None:
    class Signalled(Exception):
        pass

    def stop() -> bool:
        raise Signalled

    native, _kept = deep(MILLION, lambda node: [(node + 1, 1)])
    with pytest.raises(Signalled):
        Owners(native, stop=stop)
