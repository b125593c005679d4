"""Drawing is expendable: a process that dies while drawing costs no row."""

import os
import signal

import pytest
from PIL import Image

import pipeline
from pipeline import work
from pipeline.overlays.draw_pictures import draw_pictures
from tests.helpers.models import save_tiny_vit
from tests.helpers.photos import save_photos


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A function that runs over twelve photos; the drawing of `photo-0005.png` ends its process, once or always."""
    model = save_tiny_vit(tmp_path / "model")
    save_photos(tmp_path / "photos", 12, size=(48, 40))

    def go(*, once):
        flag = tmp_path / "flag"

        def draw(photo, drawing):
            if "0005" in drawing.name and not (once and flag.exists()):
                flag.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return draw_pictures(photo, drawing)

        monkeypatch.setattr(work, "draw_pictures", draw)
        settings = {"input": tmp_path / "photos", "out": tmp_path / "out", "model": str(model)}
        pipeline.run(pipeline.RunConfig(**settings, batch_size=4, workers=2))
        return pipeline.read_results(tmp_path / "out").set_index("path")

    return go


def pictures_of(out, table):
    for name in table["overlay"]:
        with Image.open(out / name) as picture:
            assert picture.size == (48, 40)
    return len(table)


def test_a_drawer_that_dies_costs_a_redraw(run, tmp_path):
    table = run(once=True)
    assert (table["status"] == "ok").all()
    assert pictures_of(tmp_path / "out", table) == 12


def test_a_photo_that_ends_every_drawer_keeps_its_row_and_has_no_overlay(run, tmp_path, caplog):
    table = run(once=False)
    assert (table["status"] == "ok").all()
    assert table["overlay"].isna().to_dict() == {path: "0005" in path for path in table.index}
    assert pictures_of(tmp_path / "out", table[table["overlay"].notna()]) == 11
    assert "photo-0005.png: no overlay: it ends the process that draws it" in caplog.text
