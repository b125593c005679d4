"""Overlays on disks with other rules for names: every photo keeps its own, and no name ends a run."""

import errno
import os
import re
import unicodedata

import pytest

import pipeline
from pipeline.results.compact import compact
from pipeline.results.names import thumbnail_name
from tests.helpers.photos import save_photos


@pytest.fixture
def start(tmp_path, tiny_vit):
    """Runs over tmp_path/photos into tmp_path/out, with a tiny model."""
    common = {"input": tmp_path / "photos", "out": tmp_path / "out", "model": str(tiny_vit), "workers": 1}

    def run(**settings):
        return pipeline.run(pipeline.RunConfig(**common | {"precision": "fp32"} | settings))

    return run


def save_as(folder, *names):
    """Save a photo under each name, each of its own size."""
    for number, name in enumerate(names):
        (saved,) = save_photos(folder / "new", 1, size=(30 + number, 40), seed=number)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "new" / saved).rename(folder / name)


def overlays_of(out):
    return pipeline.read_results(out).set_index("path")["overlay"]


def test_twins_have_two_overlays_and_old_ones_keep_theirs(tmp_path, start):
    photos = tmp_path / "photos"
    save_as(photos, "Weld.png", "a/fein.png")
    start()
    save_as(photos, "weld.png", "A/Fein.PNG", "a/fe\u0131n.png", "other.png")
    assert start().ok == 4
    overlays = overlays_of(tmp_path / "out")
    assert overlays["Weld.png"] == "overlays/Weld.png.png"
    assert overlays["other.png"] == "overlays/other.png.png"
    assert re.fullmatch(r"overlays/weld\.png~[0-9a-f]{16}\.png", overlays["weld.png"])
    assert len({unicodedata.normalize("NFC", name).casefold() for name in overlays}) == len(overlays) == 6
    assert start().processed == 0


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EILSEQ])
@pytest.mark.parametrize("refused", [r'[<>:"|?*]', r"[^\x00-\x7f]"])
def test_a_refused_name_is_replaced_in_row_and_report(tmp_path, start, monkeypatch, number, refused):
    names = ["12:30 weld?.png", "a*b/12.png", "Pr\u00fcf/\u691c\u67fb.png", "plain.png"]
    save_as(tmp_path / "photos", *names)
    real_replace, real_mkdir = os.replace, os.mkdir

    def check(path):
        if re.search(refused, os.path.relpath(path, tmp_path)):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", lambda old, new: (check(new), real_replace(old, new)))
    monkeypatch.setattr(os, "mkdir", lambda path, *rest: (check(path), real_mkdir(path, *rest)))
    summary = start(part_rows=1, batch_size=2)
    assert (summary.ok, summary.failed) == (4, 0)
    for path, overlay in overlays_of(tmp_path / "out").items():
        assert (overlay == f"overlays/{path}.png") == (re.search(refused, path) is None)
        assert (tmp_path / "out" / overlay).stat().st_size > 0
        assert (tmp_path / "out" / thumbnail_name(overlay)).stat().st_size > 0


def test_pruning_keeps_overlays_that_the_disk_lists_in_another_form(tmp_path, start):
    """As HFS+ lists names decomposed, and a folder of two cases in the first one."""
    save_as(tmp_path / "photos", "Pr\u00fcfling.png", "lot/a.png")
    start()
    overlays = tmp_path / "out" / "overlays"
    (overlays / "Pr\u00fcfling.png.png").rename(overlays / "Pru\u0308fling.png.png")
    (overlays / "lot").rename(overlays / "LOT")
    (overlays / "stray.png.png").write_bytes(b"")
    assert compact(tmp_path / "out", prune=True).overlays_removed == 1
    assert (overlays / "LOT" / "a.png.png").exists()
