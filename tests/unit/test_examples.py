"""The configurations in examples/: they parse, and ask for what there is."""

import configparser
import re
import shlex
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from onlooker.cli.arguments import parse
from onlooker.profile.kinds import KINDS
from onlooker.server.settings import DEFAULT_LISTEN, DEFAULT_MAX_SECONDS, parse_address

from tests.interpreters import ROOT

EXAMPLES = ROOT / "examples"

#: What scrapers ask for unless they are told otherwise.
GO_PATHS = {
    "process_cpu": "/debug/pprof/profile",
    "memory": "/debug/pprof/allocs",
    **{name: f"/debug/pprof/{name}" for name in ("block", "mutex", "goroutine")},
}


def is_served(path: str) -> bool:
    prefix, slash, name = path.rpartition("/")
    return f"{prefix}{slash}" == "/debug/pprof/" and (name == "profile" or name in KINDS)


def check_profile(name: str, settings: dict[str, Any]) -> None:
    """What a scraper is told of one profile: whether it is enabled goes by whether it is there."""
    path = str(settings.get("path", GO_PATHS.get(name)))
    kind = KINDS.get({"process_cpu": "cpu", "memory": "allocs"}.get(name, name))
    # To read all of a program's memory every few seconds is for its owner to decide.
    wanted = is_served(path) and not (kind and kind.heap)
    assert settings["enabled"] == wanted, f"{name} is at {path}"
    # What takes some time must be told how much; what only grows, the scraper subtracts.
    if kind and name not in GO_PATHS:
        assert settings.get("delta", False) == kind.timed


def listens_at(url: str) -> bool:
    parts = urlsplit(url)
    default = parse_address(DEFAULT_LISTEN)
    return (parts.scheme, parts.hostname, parts.port) == ("http", default.host, default.port)


ALLOY = re.compile(
    r'\s+|//[^\n]*|(?P<name>[a-z_.]+)\s*(?:"(?P<label>\w+)"\s*)?(?P<open>\{)'
    r"|(?P<close>\})|(?P<key>\w+)\s*=\s*(?P<value>[^\n]+)"
)


def alloy_settings(text: str) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Each attribute of an Alloy configuration, with the blocks that it is in."""
    blocks: list[str] = []
    at = 0
    while at < len(text):
        found = ALLOY.match(text, at)
        assert found, f"what is {text[at : at + 40]!r}?"
        at = found.end()
        if found["open"]:
            blocks.append(" ".join(filter(None, (found["name"], found["label"]))))
        elif found["close"]:
            blocks.pop()
        elif found["key"]:
            yield tuple(blocks), found["key"], found["value"]
    assert not blocks


def test_alloy() -> None:
    values = {(*b, k): v for b, k, v in alloy_settings((EXAMPLES / "alloy.alloy").read_text())}
    url = values["discovery.http python", "url"].strip('"')
    assert listens_at(url)
    assert urlsplit(url).path == "/targets"
    assert values["pyroscope.scrape python", "targets"] == "discovery.http.python.targets"
    assert values["pyroscope.scrape python", "forward_to"] == "[pyroscope.write.backend.receiver]"
    assert ("pyroscope.write backend", "endpoint", "url") in values
    profiles: dict[str, dict[str, Any]] = {}
    for (*blocks, key), value in values.items():
        if blocks[1:2] == ["profiling_config"]:
            name = blocks[2].rpartition(" ")[2].removeprefix("profile.")
            plain = {"true": True, "false": False}.get(value, value.strip('"'))
            profiles.setdefault(name, {})[key] = plain
    assert set(profiles) >= set(GO_PATHS)
    for name, settings in profiles.items():
        check_profile(name, settings)


def test_parca() -> None:
    config = yaml.safe_load((EXAMPLES / "parca.yaml").read_text())
    (job,) = config["scrape_configs"]
    (discovery,) = job["http_sd_configs"]
    assert listens_at(discovery["url"])
    assert urlsplit(discovery["url"]).path == "/targets"
    (relabel,) = job["relabel_configs"]
    assert relabel["source_labels"] == ["__profile_path_prefix__", "__profile_path__"]
    profiles = job["profiling_config"]["pprof_config"]
    assert set(profiles) >= set(GO_PATHS)
    for name, settings in profiles.items():
        assert settings["path"] == GO_PATHS.get(name, settings["path"])
        check_profile(name, settings)


def test_otel_collector() -> None:
    config = yaml.safe_load((EXAMPLES / "otel-collector.yaml").read_text())
    for receiver in config["receivers"].values():
        remote = receiver["remote"]
        assert listens_at(remote["endpoint"])
        parts = urlsplit(remote["endpoint"])
        assert is_served(parts.path)
        (seconds,) = parse_qs(parts.query)["seconds"]
        timeout, interval = (
            int(remote[k].removesuffix("s")) for k in ("timeout", "collection_interval")
        )
        assert int(seconds) < timeout <= interval <= DEFAULT_MAX_SECONDS
    pipeline = config["service"]["pipelines"]["profiles"]
    for role in ("receivers", "processors", "exporters"):
        assert set(pipeline[role]) == set(config[role])


def unit_file(name: str) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string((EXAMPLES / name).read_text())
    return unit


CAPABILITIES = ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]


def test_systemd() -> None:
    unit = unit_file("onlooker.service")
    assert unit.sections() == ["Unit", "Service", "Install"]
    program, *arguments = shlex.split(unit["Service"]["ExecStart"])
    assert program.startswith("/")
    assert parse(arguments).command == "serve"
    for key in ("AmbientCapabilities", "CapabilityBoundingSet"):
        assert unit["Service"][key].split() == CAPABILITIES
    text = (EXAMPLES / "onlooker.service").read_text()
    # What the comment says to add.
    (more,) = re.findall(r"add to ExecStart: (.*)", text)
    assert parse([*arguments, *shlex.split(more)]).token_file == "${CREDENTIALS_DIRECTORY}/token"


def test_systemd_timer() -> None:
    service, timer = unit_file("onlooker-heap.service"), unit_file("onlooker-heap.timer")
    assert service.sections() == ["Unit", "Service"], "the timer starts it, and nothing else"
    assert timer.sections() == ["Unit", "Timer", "Install"]
    assert "Unit" not in timer["Timer"], "it starts the service of its own name"
    program, *arguments = shlex.split(service["Service"]["ExecStart"])
    assert program.startswith("/")
    assert parse(arguments).command == "heap"
    directory = arguments[arguments.index("--dir") + 1]
    assert directory == f"/var/lib/{service['Service']['StateDirectory']}"
    for key in ("AmbientCapabilities", "CapabilityBoundingSet"):
        assert service["Service"][key].split() == CAPABILITIES


def test_crontab() -> None:
    """It does what the timer does, as often. A % would end the command."""
    (line,) = re.findall(r"^[^#\n].*", (EXAMPLES / "onlooker-heap.cron").read_text(), re.MULTILINE)
    *schedule, user, command = line.split(maxsplit=6)
    assert schedule == ["*/15", *"****"]
    assert unit_file("onlooker-heap.timer")["Timer"]["OnCalendar"] == "*:0/15"
    assert (user, command) == ("root", unit_file("onlooker-heap.service")["Service"]["ExecStart"])
    assert "%" not in command


def test_examples_are_mentioned() -> None:
    readme = (ROOT / "README.md").read_text()
    for path in EXAMPLES.iterdir():
        assert f"examples/{path.name}" in readme
