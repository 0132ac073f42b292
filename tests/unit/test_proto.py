"""The generated module against proto/profile.proto, and that against pprof's field numbers."""

import subprocess
import sys
from pathlib import Path

from onlooker.outputs import profile_pb2 as pb

ROOT = Path(__file__).parent.parent.parent

#: github.com/google/pprof, proto/profile.proto.
FIELDS = {
    "Profile": "1 sample_type, 2 sample, 3 mapping, 4 location, 5 function, 6 string_table, "
    "7 drop_frames, 8 keep_frames, 9 time_nanos, 10 duration_nanos, 11 period_type, 12 period, "
    "13 comment, 14 default_sample_type, 15 doc_url",
    "ValueType": "1 type, 2 unit",
    "Sample": "1 location_id, 2 value, 3 label",
    "Label": "1 key, 2 str, 3 num, 4 num_unit",
    "Mapping": "1 id, 2 memory_start, 3 memory_limit, 4 file_offset, 5 filename, 6 build_id, "
    "7 has_functions, 8 has_filenames, 9 has_line_numbers, 10 has_inline_frames",
    "Location": "1 id, 2 mapping_id, 3 address, 4 line, 5 is_folded",
    "Line": "1 function_id, 2 line, 3 column",
    "Function": "1 id, 2 name, 3 system_name, 4 filename, 5 start_line",
}


def test_generated_module_is_current() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "proto", "--check"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_field_numbers_are_pprofs() -> None:
    assert pb.DESCRIPTOR.package == "perftools.profiles"
    found = {
        message.name: ", ".join(f"{field.number} {field.name}" for field in message.fields)
        for message in pb.DESCRIPTOR.message_types_by_name.values()
    }
    assert found == FIELDS
