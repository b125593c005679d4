"""What is shipped: the library, the commands and the bundled model; nothing of the tests."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from safetensors import safe_open

ROOT = Path(__file__).parents[2]
MODEL = ("README.md", "config.json", "model.safetensors", "preprocessor_config.json", "verdict.json")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(out)], cwd=ROOT, check=True, capture_output=True
    )
    return out


def check(names: set[str]) -> None:
    assert {"pipeline/run.py", "jobs/cli.py", *(f"pipeline/bundled/{name}" for name in MODEL)} <= names
    assert {f"pipeline/report/page/report.{kind}" for kind in ("html.j2", "css", "js")} <= names
    assert "pipeline/training/model_card.md.j2" in names
    assert not [name for name in names if name.startswith(("tests", "sample_images", "results", "docs", "."))]


def test_wheel_has_the_command_and_no_tests(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        check(names)
        entry_points = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "vitrollout = jobs.command_line.start:main" in archive.read(entry_points).decode()


def test_sdist_has_the_sources_and_no_tests(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    check({name for name in names if name not in (".gitignore", "PKG-INFO")})


def test_bundled_model_is_small():
    file = ROOT / "pipeline" / "bundled" / "model.safetensors"
    assert file.stat().st_size <= 45 * 10**6
    with safe_open(file, "pt") as weights:
        assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {"F16"}  # noqa: SIM118 - no mapping
