"""The picture of one moment as a profile."""

from onlooker.profile.instant import goroutine
from onlooker.profile.model import Function, Location, Mapping, ValueType
from onlooker.profile.rows import Thread
from onlooker.profile.snapshot import GreenletStack, Snapshot, TaskStack, TaskState, ThreadStack

MAIN, POOL = Thread(7, "MainThread"), Thread(8, "pool")
IN_MAIN = (("thread", "MainThread"), ("thread_id", "7"))
IN_POOL = (("thread", "pool"), ("thread_id", "8"))


def at(name: str, file: str = "/m.py") -> Location:
    return Location(Function(f"m.{name}", name, file, 1), 2)


LEAF, WORK, RUN, WAIT = (at(name) for name in ("leaf", "work", "run", "wait"))
START = at("_bootstrap", "/usr/lib/python3.11/threading.py")


def task(
    name: str,
    state: TaskState = "waiting",
    thread: Thread = MAIN,
    awaited_by: tuple[str, ...] = (),
) -> TaskStack:
    return TaskStack(name, 1, thread, state, "", (LEAF, WORK), awaited_by)


def picture(
    threads: tuple[ThreadStack, ...] = (),
    tasks: tuple[TaskStack, ...] = (),
    greenlets: tuple[GreenletStack, ...] = (),
) -> Snapshot:
    mapping = Mapping("/python", "ab")
    return Snapshot(threads, tasks, greenlets, 123, ("a comment",), mapping)


def test_each_is_a_sample_with_its_labels() -> None:
    profile = goroutine(
        picture(
            (
                ThreadStack(MAIN, (LEAF, RUN, START), True, True, task="c"),
                ThreadStack(POOL, (), False, False, read=False),
            ),
            (
                task("a", awaited_by=("b", "c")),
                task("b", "created", Thread(0)),
                task("c", "running"),  # which is what its thread does
            ),
            (GreenletStack(5, "gevent.Greenlet", POOL, (WAIT,)),),
        )
    )
    not_read = Location(Function("<stack not read>", "<stack not read>", "", 0), 0)
    assert {(sample.stack, sample.values, sample.labels) for sample in profile.samples} == {
        ((LEAF, RUN), (1,), (*IN_MAIN, ("task", "c"), ("state", "running"))),
        ((not_read,), (1,), IN_POOL),
        (
            (LEAF, WORK),
            (1,),
            (*IN_MAIN, ("task", "a"), ("state", "waiting"), ("awaited_by", "b, c")),
        ),
        ((LEAF, WORK), (1,), (("task", "b"), ("state", "created"))),
        ((WAIT,), (1,), (*IN_POOL, ("greenlet", "gevent.Greenlet"), ("state", "waiting"))),
    }


def test_equal_ones_add_up_and_the_greatest_come_first() -> None:
    profile = goroutine(picture(tasks=(task("z"), task("y"), task("a"), task("y"))))
    found = [(dict(sample.labels)["task"], sample.values) for sample in profile.samples]
    assert found == [("y", (2,)), ("z", (1,)), ("a", (1,))]


def test_profile_is_what_go_writes() -> None:
    """Of a goroutine profile: goroutine/count both ways, period 1, no duration."""
    profile = goroutine(picture())
    count = ValueType("goroutine", "count")
    assert (profile.sample_types, profile.period_type, profile.period) == ((count,), count, 1)
    assert (profile.time_ns, profile.duration_ns) == (123, 0)
    assert (profile.comments, profile.mapping) == (("a comment",), Mapping("/python", "ab"))


def test_interpreters_are_told_apart_if_there_are_several() -> None:
    other = Thread(9, "", 1)
    threads = tuple(ThreadStack(thread, (RUN,), False, False) for thread in (MAIN, other))
    labels = [dict(sample.labels) for sample in goroutine(picture(threads)).samples]
    assert [label["interpreter"] for label in labels] == ["0", "1"]


def test_frames_that_only_start_threads_are_left_out_unless_wanted() -> None:
    threads = (ThreadStack(MAIN, (RUN, START), False, False),)
    (sample,) = goroutine(picture(threads)).samples
    assert sample.stack == (RUN,)
    (sample,) = goroutine(picture(threads), all_frames=True).samples
    assert sample.stack == (RUN, START)
