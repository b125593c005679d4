"""What is shipped: the library and the commands; nothing of the tests."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(out)], cwd=ROOT, check=True, capture_output=True
    )
    return out


def check(names: set[str]) -> None:
    assert {"pipeline/run.py", "jobs/cli.py"} <= names
    assert not [name for name in names if name.startswith(("tests", "sample_images", "results", "docs", "."))]


def test_wheel_has_the_command_and_no_tests(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        check(names)
        entry_points = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "vitrollout = jobs.cli:main" in archive.read(entry_points).decode()


def test_sdist_has_the_sources_and_no_tests(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    check({name for name in names if name not in (".gitignore", "PKG-INFO")})
