"""Runs on disks with habits of network shares and foreign systems, through FUSE: part of `make soak`, as root."""

import os
from pathlib import Path

import pytest

import pipeline
from pipeline.report.status import read_status
from pipeline.results.compact import compact
from tests.helpers.odd_disk import mount_odd_disk
from tests.helpers.photos import save_photos

pytestmark = pytest.mark.soak

NAMES = [
    "Weld.png",
    "weld.png",
    "lot/a.png",
    "Lot/A.png",
    "12:30?.png",
    "Pr\u00fcfling.png",
    "Pru\u0308fling.png",
    "b.png",
]


@pytest.fixture(autouse=True)
def _needs_fuse():
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("only root may mount a FUSE disk, where the system has /dev/fuse")
    try:
        import fuse  # noqa: F401
    except (ImportError, OSError) as error:
        pytest.skip(f"needs fusepy from PyPI and libfuse2 of the system: {error}")


@pytest.fixture
def photos(tmp_path):
    """Photos under names that some disk refuses or mixes up, each of its own size."""
    for number, name in enumerate(NAMES):
        (saved,) = save_photos(tmp_path / "new", 1, size=(30 + number, 40), seed=number)
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "new" / saved).rename(tmp_path / "photos" / name)
    return tmp_path / "photos"


def start(source, out, model, **settings):
    return pipeline.run(pipeline.RunConfig(input=source, out=out, model=str(model), workers=1, **settings))


@pytest.mark.parametrize(
    "habits", [("caseless", "windows names", "no times"), ("decomposed",), ("no flush", "caseless"), ("windows names",)]
)
def test_results_on_an_odd_disk(tmp_path, photos, tiny_vit, habits):
    out = tmp_path / "disk" / "out"
    with mount_odd_disk(tmp_path / "real", tmp_path / "disk", *habits):
        assert start(photos, out, tiny_vit).ok == len(NAMES)
        assert start(photos, out, tiny_vit).processed == 0
        overlays = pipeline.read_results(out)["overlay"]
        assert len({(out / name).stat().st_ino for name in overlays}) == len(NAMES)
        (photos / "b.png").unlink()
        assert start(photos, out, tiny_vit).gone == 1
        assert compact(out, prune=True).overlays_removed == 1
        assert all((out / name).stat().st_size for name in pipeline.read_results(out)["overlay"])


def test_photos_on_a_disk_that_is_out_of_reach_for_a_night(tmp_path, photos, tiny_vit):
    source, out = tmp_path / "disk", tmp_path / "out"
    with mount_odd_disk(photos, source, "unreadable"):
        assert start(source, out, tiny_vit).failed == len(NAMES)
        assert read_status(out).broken == 0
    source.rmdir()
    with mount_odd_disk(photos, source):
        summary = start(source, out, tiny_vit)
        assert (summary.ok, summary.exit_code) == (len(NAMES), 0)
