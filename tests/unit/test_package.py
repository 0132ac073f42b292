"""What `import onlooker` gives, which is loaded when it is asked for."""

import onlooker
import pytest


@pytest.mark.parametrize("name", onlooker.__all__)
def test_all_is_there(name: str) -> None:
    assert getattr(onlooker, name).__name__ == name
    assert name in dir(onlooker)


def test_nothing_else_is() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        onlooker.Nothing  # type: ignore[attr-defined]  # noqa: B018
