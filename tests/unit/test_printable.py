"""Names from a target in one line that a terminal obeys nothing of."""

import pytest
from onlooker.profile.printable import printable, quoted, short


# As strconv.Quote of Go has them, but for what is neither printable nor has a letter of its own.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", '""'),
        ("Task-1", '"Task-1"'),
        ('say "é"', '"say \\"é\\""'),
        ("C:\\new\n", '"C:\\\\new\\n"'),
        ("\a\b\f\r\t\v", '"\\a\\b\\f\\r\\t\\v"'),
        ("\x1b[2J\x00\u2028\udc80\U0001f600", '"\\x1b[2J\\x00\\u2028\\udc80\U0001f600"'),
    ],
)
def test_quoted(text: str, expected: str) -> None:
    assert quoted(text) == expected


def test_printable_leaves_what_a_terminal_may_have() -> None:
    assert printable('a "b" \\ é') == 'a "b" \\ é'
    assert printable("a\n\x1b[2J") == "a\\n\\x1b[2J"


def test_short_says_that_there_was_more() -> None:
    assert short("abc", 3) == "abc"
    assert short("abcd", 3) == "ab…"
