"""Variables in `onlooker dump` against what the program says of them."""

from pathlib import Path
from typing import Any

import pytest
from onlooker.target import Target

from tests.commands import onlooker
from tests.conftest import StartTarget
from tests.interpreters import Interpreter

VARIABLES = Path("variables.py")
TASKS = Path("task_variables.py")
FUNCTIONS = ("simple", "containers", "beyond", "inner")


def variables_of(dump: Any, thread: str) -> dict[str, dict[str, str]]:
    (found,) = [one for one in dump["threads"] if one["name"] == thread]
    return {frame["function"].rpartition(".")[2]: frame["locals"] for frame in found["stack"]}


def test_values_are_what_the_target_says(
    interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(interpreter, VARIABLES)
    told = dict(zip(FUNCTIONS, target.read_json(), strict=True))
    dump = onlooker("dump", "--pid", target.pid, "--json", "--locals").ok().json
    found = variables_of(dump, "asleep")
    for function in FUNCTIONS:
        assert found[function] == told[function]
    assert found["closed"]["cell"] == "'in a cell!'"
    # Nothing that a terminal would obey.
    text = onlooker("dump", "--pid", target.pid, "--locals").ok().text
    assert "        control = '\\x1b[31m\\n\\x00'\n" in text
    assert "        lone = '\\ud800x'\n" in text
    without = onlooker("dump", "--pid", target.pid, "--json").ok().json
    assert "locals" not in without["threads"][0]["stack"][0]


@pytest.mark.parametrize("pause", ["auto", "never"])
def test_thread_that_runs(interpreter: Interpreter, start_target: StartTarget, pause: Any) -> None:
    target = start_target(interpreter, VARIABLES)
    target.read_line()
    target.send("run")
    target.read_line()
    with Target(target.pid) as opened:
        (stack,) = [
            thread
            for thread in opened.snapshot(variables=True, pause=pause).threads
            if thread.thread.name == "runs"
        ]
    if pause == "never" and stack.variables is None:
        return
    assert stack.variables is not None
    assert stack.stack[0].function.system_name == "running"
    variables = dict(stack.variables[0])
    assert variables["marker"] == "'runs'"
    assert int(variables["number"]) >= 0


def test_values_of_tasks_are_what_the_target_says(
    interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(interpreter, TASKS)
    told = target.read_json()
    dump = onlooker("dump", "--pid", target.pid, "--json", "--locals").ok().json
    found = {
        frame["function"].rpartition(".")[2]: frame["locals"]
        for task in dump["tasks"]
        for frame in task["stack"]
    }
    assert len(told) == 7
    for function, variables in told.items():
        shown = {name: value for name, value in found[function].items() if value[0] != "<"}
        assert shown == variables, function
    assert found["has_cell"]["has_free"].startswith("<builtins.function at ")
    # What runs has the variables of its thread's frames.
    (running,) = [task for task in dump["tasks"] if task["state"] == "running"]
    (main,) = [thread for thread in dump["threads"] if thread["task"] == running["name"]]
    assert running["stack"] == main["stack"][: len(running["stack"])]
    assert set(found["wait"]) == {"created"}
    text = onlooker("dump", "--pid", target.pid, "--locals").ok().text
    assert "        before = -1180591620717411303424\n" in text


def test_variables_of_a_task_that_runs_on_are_of_one_moment(
    interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(interpreter, TASKS)
    target.read_line()
    target.send("go")
    with Target(target.pid) as opened:
        for _ in range(20):
            for task in opened.snapshot(variables=True).tasks:
                for location, variables in zip(task.stack, task.variables or (), strict=False):
                    values = dict(variables)
                    if location.function.name == "__main__.turns" and "twice" in values:
                        assert task.state == "running" or int(values["twice"]) == 2 * int(
                            values["number"]
                        )


def test_keys_of_the_json(any_interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(any_interpreter, VARIABLES)
    target.read_line()
    dump = onlooker("dump", "--pid", target.pid, "--json").ok().json
    assert set(dump) == {
        *("pid", "program", "python", "executable", "command"),
        *("threads", "tasks", "greenlets", "caveats"),
    }
    assert set(dump["threads"][0]) == {
        *("thread_id", "name", "interpreter", "read", "on_cpu", "holds_gil"),
        *("task", "labels", "stack"),
    }
    assert set(dump["threads"][0]["stack"][0]) == {"function", "file", "line"}
