"""The agent needs a bounded amount of memory for a target that makes new things all the time."""

import sys

import pytest

from tests.conftest import StartTarget
from tests.interpreters import Interpreter, Target

TARGETS = {
    # Code objects with equal texts, which are one to the profile.
    "equal code": """
        import itertools
        print("ready", flush=True)
        while True:
            namespace = {}
            exec(compile("def f():\\n  return sum(range(50))\\nf()", "equal", "exec"), namespace)
            namespace.clear()
        """,
    # Ones with texts of their own.
    "new code": """
        import itertools
        print("ready", flush=True)
        for number in itertools.count():
            namespace = {}
            source = "def f%d():\\n  return sum(range(50))\\nf%d()" % (number, number)
            exec(compile(source, "file %d" % number, "exec"), namespace)
            namespace.clear()
        """,
    "short-lived threads": """
        import threading
        def work(): sum(range(200))
        print("ready", flush=True)
        while True:
            threads = [threading.Thread(target=work) for _ in range(4)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
        """,
}

# Records, and says at first and in the end: its resident bytes, and how many rows, stacks' nodes,
# code objects and threads it knows of.
AGENT = """
import json, os, sys
from onlooker import Target
from onlooker.observe import recorder

class Counted(recorder.Recorder):
    def run(self, until_ns):
        COUNTED[0] = self
        return super().run(until_ns)
COUNTED = [None]
recorder.Recorder = Counted
import onlooker.sampling
onlooker.sampling.Recorder = Counted

def say(recording):
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    it = COUNTED[0]
    known = [len(it._array(function, 1)) for function in (
        recorder.lib.recorder_rows, recorder.lib.recorder_nodes, recorder.lib.recorder_threads)]
    known.append(recorder.lib.recorder_code_count(it._recorder))
    print(json.dumps([resident, *known]), flush=True)

said = []
def progress(now):
    if not said and now.elapsed_ns > 300_000_000 or said and now.elapsed_ns > 1_500_000_000:
        said.append(now)
        say(now)
with Target(int(sys.argv[1])) as target:
    target.record(["wall"], rate_hz=float(sys.argv[2]), progress=progress,
                  stop=lambda: len(said) == 2)
"""

#: What one more of each may take: rows, nodes, threads and code objects. The arrays and Python's
#: tables grow by doubling.
SIZES = (2 * 64, 2 * 2 * 12, 512, 4096)
ALWAYS = 2 << 20


@pytest.mark.parametrize("what", TARGETS)
def test_memory_is_bounded(
    any_interpreter: Interpreter, start_target: StartTarget, what: str
) -> None:
    target = start_target(any_interpreter, TARGETS[what])
    assert target.read_line() == "ready"
    with Target([sys.executable, "-c", AGENT, str(target.pid), "1e6"]) as agent:
        before, *known_before = agent.read_json()
        after, *known_after = agent.read_json()
    grown = [late - early for early, late in zip(known_before, known_after, strict=True)]
    print(what, before, after - before, known_before, grown)
    allowed = ALWAYS + sum(size * count for size, count in zip(SIZES, grown, strict=True))
    assert after - before < allowed, (grown, allowed)
    if what == "equal code":
        assert grown[-1] < 20
