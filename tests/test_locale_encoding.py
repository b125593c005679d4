"""Locales: names are right, or the command ends with the variable to set."""

import os

import pytest

from tests.helpers.commands import run_fresh_vitrollout
from tests.helpers.tables import FAILED, make_row, write_run

NAMES = ["Prüfling.png", "検査.png"]


@pytest.fixture
def out(tmp_path):
    (tmp_path / "photos").mkdir()
    write_run(tmp_path / "out", tmp_path / "photos", [make_row(name, **FAILED | {"error": "Größe"}) for name in NAMES])
    return tmp_path / "out"


def show_status(out, **variables):
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    return run_fresh_vitrollout("status", out, env=plain | variables, encoding="utf-8", errors="replace")


@pytest.mark.parametrize("variables", [{"LC_ALL": "C"}, {"LC_ALL": "POSIX"}, {"LANG": "C.UTF-8"}], ids=str)
def test_names_are_right(out, variables):
    done = show_status(out, **variables)
    assert done.returncode == 0, done.stderr
    assert all(f"{name}: Größe" in done.stdout for name in NAMES)


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_a_locale_that_would_lose_names_is_refused_with_the_way_out(out, locale):
    variables = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = show_status(out, **variables)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "file names are ascii in this locale" in line
    assert "set PYTHONUTF8=1" in line
    assert show_status(out, **variables | {"PYTHONUTF8": "1"}).returncode == 0


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_a_terminal_with_few_letters_gets_the_others_escaped(out, encoding):
    done = show_status(out, LC_ALL="C.UTF-8", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert r"\u691c\u67fb.png" in done.stdout
