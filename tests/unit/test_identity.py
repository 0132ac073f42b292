"""Names of programs and the paths that a process sees."""

import pytest
from onlooker.runtime.identity import inside, program_name


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("python3 app.py --port 80", "app"),
        ("/usr/bin/python3 /srv/app/manage.py runserver", "manage"),
        ("python3 /usr/bin/gunicorn app:app", "gunicorn"),
        ("python3 -m http.server 8000", "http.server"),
        ("python3 -mhttp.server 8000", "http.server"),
        ("python3 -um pkg.tool", "pkg.tool"),
        ("python3 -Werror -X dev -W ignore -B app.py", "app"),
        ("python3 -Xdev app.py", "app"),
        ("python3 -IX dev app.py", "app"),
        ("python3 --check-hash-based-pycs never app.py", "app"),
        ("python3 -c code app.py", "python3.12"),
        ("python3 -uccode app.py", "python3.12"),
        ("python3", "python3.12"),
        ("python3 -", "python3.12"),
        ("python3 -m", "python3.12"),
        ("python3 -W", "python3.12"),
        ("", "python3.12"),
    ],
)
def test_program_of_a_python(command: str, name: str) -> None:
    assert program_name("/usr/bin/python3.12", tuple(command.split(" "))) == name


def test_program_that_embeds_python_has_its_own_name() -> None:
    assert program_name("/opt/myapp", ("/opt/myapp", "file.py")) == "myapp"


def test_inside() -> None:
    assert inside("/", "/usr/bin/python3") == "/usr/bin/python3"
    assert inside("/srv/root", "/srv/root/usr/bin/python3") == "/usr/bin/python3"
    assert inside("/srv/root", "/srv/rootless/python3") == "/srv/rootless/python3"
