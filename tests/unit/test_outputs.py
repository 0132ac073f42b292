"""The output formats against their readers' rules, and against golden files.

``pytest --update`` writes the golden files anew.
"""

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf import text_format
from onlooker import outputs
from onlooker.outputs import addresses, pprof_message
from onlooker.outputs import profile_pb2 as pb
from onlooker.profile.model import Function, Location, Profile, Sample

from tests import profiles

GOLDEN = Path(__file__).parent.parent / "golden"


def written(format_name: str, profile: Profile) -> bytes:
    file = io.BytesIO()
    outputs.load(format_name).write(profile, file)
    return file.getvalue()


def decoded(profile: Profile) -> pb.Profile:
    return pb.Profile.FromString(gzip.decompress(written("pprof", profile)))


def pprof_as_text(data: bytes) -> str:
    return text_format.MessageToString(pb.Profile.FromString(gzip.decompress(data)))


#: How a binary format becomes text for its golden file.
AS_TEXT: dict[str, Callable[[bytes], str]] = {"pprof": pprof_as_text}


@pytest.mark.parametrize("name", outputs.names())
def test_golden(name: str, update: bool) -> None:
    data = written(name, profiles.small_profile())
    text = AS_TEXT[name](data) if outputs.load(name).BINARY else data.decode()
    golden = GOLDEN / f"{name}.txt"
    if update:
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_every_format_is_found_and_complete() -> None:
    files = {path.stem for path in Path(outputs.__file__).parent.glob("*.py")}
    others = {"__init__", "addresses", "files", "pprof_message", "profile_pb2", "reading"}
    assert set(outputs.names()) == files - others
    for name in outputs.names():
        found = outputs.load(name)
        assert name == found.NAME
        assert found.SUFFIX.startswith(".")
    suffixes = [outputs.load(name).SUFFIX for name in outputs.names()]
    assert len(set(suffixes)) == len(suffixes)


@pytest.mark.parametrize("name", ["nonsense", "files", "profile_pb2", "../pprof"])
def test_what_is_no_format_is_not_loaded(name: str) -> None:
    with pytest.raises(KeyError):
        outputs.load(name)


@pytest.mark.parametrize("name", outputs.names())
def test_same_profile_same_bytes(name: str) -> None:
    assert written(name, profiles.random_profile(3)) == written(name, profiles.random_profile(3))


# The pprof format: what its readers ask for.

RANDOM = [pytest.param(profiles.random_profile(seed), id=f"random{seed}") for seed in range(4)]
EVERY = [
    *RANDOM,
    pytest.param(profiles.small_profile(), id="small"),
    pytest.param(profiles.cpu_profile([]), id="empty"),
]


@pytest.mark.parametrize("profile", EVERY)
def test_fastdelta_can_tell_stacks_apart(profile: Profile) -> None:
    """Alloy and Datadog know a stack by its addresses alone."""
    message = decoded(profile)
    addresses = [location.address for location in message.location]
    assert len(set(addresses)) == len(addresses)
    mapping = message.mapping[0]
    assert all(mapping.memory_start <= a < mapping.memory_limit for a in addresses)
    assert 0 not in addresses
    assert mapping.memory_limit < 1 << 53, "a JavaScript number"
    assert len(message.sample_type) <= 4


@pytest.mark.parametrize("profile", EVERY)
def test_ids_are_numbered_as_parca_wants(profile: Profile) -> None:
    message = decoded(profile)
    for table in (message.mapping, message.location, message.function):
        assert [entry.id for entry in table] == list(range(1, len(table) + 1))
    assert all(label.key for sample in message.sample for label in sample.label)


@pytest.mark.parametrize("profile", EVERY)
def test_string_table_is_sound(profile: Profile) -> None:
    message = decoded(profile)
    strings = list(message.string_table)
    assert strings[0] == ""
    assert len(set(strings)) == len(strings)
    indices = [*message.comment, message.default_sample_type]
    for value_type in (*message.sample_type, message.period_type):
        indices += [value_type.type, value_type.unit]
    for function in message.function:
        indices += [function.name, function.system_name, function.filename]
    for sample in message.sample:
        for label in sample.label:
            indices += [label.key, label.str, label.num_unit]
            assert bool(label.str) != bool(label.num_unit), "a text or a number, and never lost"
    assert all(0 <= index < len(strings) for index in indices)


@pytest.mark.parametrize("profile", EVERY)
def test_everything_is_read_back(profile: Profile) -> None:
    message = decoded(profile)
    text = list(message.string_table)
    functions = {entry.id: entry for entry in message.function}
    locations = {entry.id: entry for entry in message.location}

    def place(number: int) -> tuple[str, str, int, int]:
        (line,) = locations[number].line
        function = functions[line.function_id]
        return text[function.name], text[function.filename], function.start_line, line.line

    found = [
        (
            [place(number) for number in sample.location_id],
            tuple(sample.value),
            {text[label.key]: text[label.str] or label.num for label in sample.label},
        )
        for sample in message.sample
    ]
    assert found == [
        (
            [
                (at.function.name, escaped(at.function.filename), at.function.start_line, at.line)
                for at in sample.stack
            ],
            sample.values,
            dict(sample.labels),
        )
        for sample in profile.samples
    ]
    places = {at for sample in profile.samples for at in sample.stack}
    assert len(message.location) == len(places), "one Location per line of a function"
    assert len(message.function) == len({at.function for at in places})


def escaped(path: str) -> str:
    return path.replace("\udcff", "\\udcff")


@pytest.mark.parametrize("profile", RANDOM)
def test_addresses_do_not_depend_on_the_other_samples(profile: Profile) -> None:
    def addresses(wanted: Profile) -> dict[tuple[object, ...], int]:
        message = decoded(wanted)
        functions = {entry.id: entry for entry in message.function}
        found: dict[tuple[object, ...], int] = {}
        for location in message.location:
            function = functions[location.line[0].function_id]
            indices = (function.name, function.system_name, function.filename)
            names = [message.string_table[index] for index in indices]
            place = (*names, function.start_line, location.line[0].line)
            found[place] = location.address
        return found

    whole = addresses(profile)
    part = addresses(profiles.cpu_profile(list(profile.samples[::-3])))
    assert part
    assert part.items() <= whole.items()


def test_colliding_addresses_are_still_unique(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "MEMORY_LIMIT", addresses.MEMORY_START + 64)
    function = profiles.function("app.f")
    samples = [profiles.sample(Location(function, line)) for line in range(64)]
    found = {entry.address for entry in decoded(profiles.cpu_profile(samples)).location}
    assert found == set(range(addresses.MEMORY_START, addresses.MEMORY_LIMIT))


def test_batches_join(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = profiles.random_profile(7)
    whole = decoded(profile)
    monkeypatch.setattr(pprof_message, "SAMPLES_PER_BATCH", 3)
    assert decoded(profile) == whole


def test_what_is_kept_to_hand_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = profiles.random_profile(7)
    whole = written("pprof", profile)
    monkeypatch.setattr(pprof_message, "_LOCATIONS_KEPT", 2)
    monkeypatch.setattr(pprof_message, "_LABELS_KEPT", 2)
    assert written("pprof", profile) == whole


def test_mapping_says_that_nothing_is_missing() -> None:
    (mapping,) = decoded(profiles.small_profile()).mapping
    assert mapping.has_functions
    assert mapping.has_filenames
    assert mapping.has_line_numbers
    assert not mapping.has_inline_frames


def test_names_from_a_target_stay_in_their_place_in_folded() -> None:
    odd = Function("a;b\n\x1b[2J é\udc80", "", "", 0)
    profile = profiles.cpu_profile(
        [
            Sample((Location(odd, 1), Location(profiles.function("app.f"), 2)), (1, 10), ()),
            Sample((Location(odd, 3), Location(profiles.function("app.f"), 4)), (1, 5), ()),
        ]
    )
    assert written("folded", profile).decode() == "app.f;a:b\\n\\x1b[2J é\\udc80 15\n"
