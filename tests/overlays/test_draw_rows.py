"""Overlays drawn from rows: the pictures of the run itself, for the photos chosen, and a table that stays whole."""

import hashlib
import json
import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import pipeline
from pipeline.errors import ConfigError, FolderBusyError
from pipeline.results.compact import compact
from pipeline.results.folder import ResultsFolder
from pipeline.results.names import part_files, record_files, thumbnail_name
from pipeline.results.parts import read_part
from tests.helpers.image_files import smooth_photo, with_orientation
from tests.helpers.photos import save_photos
from tests.helpers.tables import make_row, write_run


@pytest.fixture
def start(tmp_path, tiny_vit):
    """Runs over tmp_path/photos with a tiny model, without a report; `out` is tmp_path/out."""
    common = {"input": tmp_path / "photos", "out": tmp_path / "out", "model": str(tiny_vit), "workers": 1}
    return lambda **settings: pipeline.run(**common | {"precision": "fp32", "report": False} | settings)


def draw(out, **settings):
    return pipeline.draw_overlays(out=out, workers=1, **settings)


def pictures(out):
    """Return all pictures by name."""
    files = [file for top in ("overlays", "thumbnails") for file in (out / top).rglob("*") if file.is_file()]
    return {file.relative_to(out).as_posix(): file.read_bytes() for file in files}


def overlays(out):
    """Return the names of the overlays by path; each has its two files."""
    names = pipeline.read_results(out, ["path", "overlay"]).set_index("path")["overlay"].dropna()
    assert set(pictures(out)) == {*names, *map(thumbnail_name, names)}
    return dict(names)


def assert_same_table(out, other):
    """Compare two tables, but for the columns that name a run or its time."""
    own = ["run_id", "processed_at"]
    first, second = (pipeline.read_results(folder).drop(columns=own) for folder in (out, other))
    assert first.map(str).equals(second.map(str))


def odd_photos(folder):
    """Save photos of all kinds that a drawing could get wrong: large, turned, narrow, with odd names."""
    (folder / "lot").mkdir(parents=True)
    smooth_photo(2600, 1900, seed=1).save(folder / "large.jpg", quality=90)
    (folder / "turned.jpg").write_bytes(with_orientation(smooth_photo(90, 60), "JPEG", 6))
    smooth_photo(31, 200).save(folder / "lot" / "narrow.png")
    smooth_photo(41, 37).save(folder / "lot" / "NARROW.png")
    Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64)).save(folder / "deep.png")
    smooth_photo(30, 20).save(folder / "lot" / "caf.png")
    os.rename(folder / "lot" / "caf.png", os.path.join(os.fsencode(folder), b"lot", b"caf\xe9.png"))


@pytest.mark.parametrize(
    "settings",
    [
        {"overlay_size": 700},
        {"style": "article", "white_level": 5000.0, "exact_decode": True},
        {"method": "relevance,rollout", "colormap": "viridis", "overlay_opacity": 0.4, "overlay_size": 2000},
    ],
    ids=str,
)
@pytest.mark.parametrize("model", ["vit", "dinov2", "padded"])
def test_pictures_are_those_of_the_run_byte_for_byte(tmp_path, start, tiny_checkpoint, model, settings):
    odd_photos(tmp_path / "photos")
    folder = tiny_checkpoint("dinov2" if model == "padded" else model)
    if model == "padded":  # the map reaches beyond small photos
        folder = shutil.copytree(folder, tmp_path / "model")
        preprocessing = json.loads((folder / "preprocessor_config.json").read_text()) | {"do_resize": False}
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    settings = {"model": str(folder)} | settings
    start(**settings, out=tmp_path / "whole")
    start(**settings, overlays="none")
    outcome = draw(tmp_path / "out")
    assert (outcome.chosen, outcome.drawn, outcome.exit_code, outcome.interrupted) == (6, 6, 0, False)
    assert pictures(tmp_path / "out") == pictures(tmp_path / "whole")
    assert len(overlays(tmp_path / "out")) == 6
    assert_same_table(tmp_path / "out", tmp_path / "whole")
    compact(tmp_path / "out")
    assert_same_table(tmp_path / "out", tmp_path / "whole")


def test_only_chosen_rows_are_drawn_and_the_rest_later(tmp_path, start):
    save_photos(tmp_path / "photos", 8)
    start(overlays="none", part_rows=3)
    rows = pipeline.read_results(tmp_path / "out").set_index("path")
    limit = float(rows["score"].sort_values().iloc[3:5].mean())
    first = draw(tmp_path / "out", where=f'score < {limit} and status == "ok"')
    assert set(overlays(tmp_path / "out")) == set(rows.index[rows["score"] < limit])
    assert draw(tmp_path / "out", limit=1).drawn == 1
    rest = draw(tmp_path / "out")
    assert (first.drawn, rest.drawn, rest.already_drawn) == (4, 3, 5)
    assert len(overlays(tmp_path / "out")) == 8
    assert draw(tmp_path / "out").chosen == 0
    assert start().processed == 0, "a drawn row is no reason to process its photo again"


def test_lost_pictures_are_drawn_again_and_all_of_them_with_redraw(tmp_path, start):
    save_photos(tmp_path / "photos", 3)
    start()
    before, parts = pictures(tmp_path / "out"), part_files(tmp_path / "out")
    lost = overlays(tmp_path / "out")
    (tmp_path / "out" / lost["photo-0000.png"]).unlink()
    (tmp_path / "out" / thumbnail_name(lost["photo-0001.png"])).unlink()
    assert draw(tmp_path / "out").drawn == 2
    assert pictures(tmp_path / "out") == before
    assert draw(tmp_path / "out", redraw=True, style="article", overlay_size=16).drawn == 3
    assert not set(pictures(tmp_path / "out").values()) & set(before.values())
    with Image.open(tmp_path / "out" / lost["photo-0002.png"]) as picture:
        assert max(picture.size) == 16
    assert part_files(tmp_path / "out") == parts, "no name is new"


def test_changed_and_unreadable_photos_are_left_out_and_named(tmp_path, start, caplog):
    save_photos(tmp_path / "photos", 5)
    (tmp_path / "photos" / "broken.png").write_bytes(b"broken")
    start(overlays="none")
    smooth_photo(50, 40).save(tmp_path / "photos" / "photo-0000.png")
    (tmp_path / "photos" / "photo-0001.png").write_bytes(b"broken meanwhile")
    (tmp_path / "photos" / "photo-0002.png").unlink()
    os.utime(tmp_path / "photos" / "photo-0003.png", ns=(1, 1))  # the same bytes
    outcome = draw(tmp_path / "out")
    assert (outcome.chosen, outcome.drawn, outcome.changed, outcome.unreadable) == (5, 2, 2, 1)
    assert (outcome.exit_code, outcome.interrupted) == (3, False)
    assert set(overlays(tmp_path / "out")) == {"photo-0003.png", "photo-0004.png"}
    for name in ("photo-0000.png", "photo-0001.png"):
        assert f"{name}: changed since its row; run again" in caplog.messages
    assert "photo-0002.png: is gone from the input folder" in caplog.messages
    assert start().processed == 2, "the changed ones"


def test_replaced_rows_are_not_drawn(tmp_path, start):
    save_photos(tmp_path / "photos", 2)
    start(overlays="none")
    save_photos(tmp_path / "photos", 1, seed=5)
    start(overlays="none")
    assert draw(tmp_path / "out").drawn == 2
    start(out=tmp_path / "whole")
    assert pictures(tmp_path / "out") == pictures(tmp_path / "whole")


def test_each_row_is_drawn_as_its_run_would_have(tmp_path, start):
    save_photos(tmp_path / "photos", 2)
    start(overlays="none", style="article")
    save_photos(tmp_path / "photos" / "lot", 2, seed=1)
    start(overlays="none", overlay_size=20)
    compact(tmp_path / "out")
    draw(tmp_path / "out")
    start(out=tmp_path / "article", style="article")
    start(out=tmp_path / "small", overlay_size=20)
    found, articles, small = (pictures(tmp_path / name) for name in ("out", "article", "small"))
    names = [f"overlays/{folder}photo-000{number}.png.png" for folder in ("", "lot/") for number in range(2)]
    assert [found[name] == articles[name] for name in names] == [True, True, False, False]
    assert [found[name] == small[name] for name in names] == [False, False, True, True]


def test_without_the_record_and_the_model_of_the_run(tmp_path, start, tiny_vit, caplog):
    save_photos(tmp_path / "photos", 2)
    model = shutil.copytree(tiny_vit, tmp_path / "model")
    start(model=str(model), out=tmp_path / "whole")
    start(model=str(model), overlays="none")
    shutil.rmtree(model)
    (record,) = record_files(tmp_path / "out")
    record.unlink()
    assert draw(tmp_path / "out").drawn == 2
    assert pictures(tmp_path / "out") == pictures(tmp_path / "whole"), "PNG files are decoded in one way only"
    assert any("large JPEGs are decoded in full" in message for message in caplog.messages)


def test_a_refused_name_is_replaced_in_the_row(tmp_path, start, monkeypatch):
    save_photos(tmp_path / "photos", 2)
    (tmp_path / "photos" / "photo-0000.png").rename(tmp_path / "photos" / "12:30.png")
    start(overlays="none")
    real_replace = os.replace

    def replace(old, new):
        if ":" in os.fspath(new):
            raise OSError(22, "Invalid argument")
        real_replace(old, new)

    monkeypatch.setattr(os, "replace", replace)
    assert draw(tmp_path / "out").drawn == 2
    assert re.fullmatch(r"overlays/~/_12_30\.png~[0-9a-f]{16}\.png", overlays(tmp_path / "out")["12:30.png"])
    assert draw(tmp_path / "out", redraw=True).drawn == 2
    assert len(overlays(tmp_path / "out")) == 2


def test_a_stop_keeps_what_is_drawn_and_another_call_draws_the_rest(tmp_path, start):
    save_photos(tmp_path / "photos", 100, size=(20, 20))
    start(overlays="none", batch_size=50)
    asked = iter(range(10**6))
    stopped = draw(tmp_path / "out", stop=lambda: next(asked) > 40)
    assert stopped.interrupted
    assert 0 < stopped.drawn < 100
    assert stopped.drawn == len(overlays(tmp_path / "out"))
    rest = draw(tmp_path / "out")
    assert (rest.drawn, rest.already_drawn) == (100 - stopped.drawn, stopped.drawn)
    start(out=tmp_path / "whole")
    assert pictures(tmp_path / "out") == pictures(tmp_path / "whole")
    assert_same_table(tmp_path / "out", tmp_path / "whole")


def test_a_kill_before_the_rows_leaves_pictures_to_draw_again(tmp_path, start, monkeypatch):
    save_photos(tmp_path / "photos", 3)
    start(overlays="none")
    parts = part_files(tmp_path / "out")

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ResultsFolder, "write_part", die)
        with pytest.raises(KeyboardInterrupt):
            draw(tmp_path / "out")
    assert part_files(tmp_path / "out") == parts
    assert draw(tmp_path / "out").drawn == 3
    assert len(overlays(tmp_path / "out")) == 3


def test_rows_are_committed_a_thousand_at_a_time(tmp_path, start, monkeypatch):
    monkeypatch.setattr("pipeline.overlays.choose_rows._CHUNK_ROWS", 3)
    save_photos(tmp_path / "photos", 8)
    start(overlays="none", part_rows=2, batch_size=2)
    before = part_files(tmp_path / "out")
    draw(tmp_path / "out")
    added = part_files(tmp_path / "out")[len(before) :]
    assert [len(read_part(part)) for part in added] == [3, 1, 3, 1]
    assert len(overlays(tmp_path / "out")) == 8


def test_a_folder_that_is_busy_or_no_results_folder_or_without_its_photos(tmp_path, start):
    save_photos(tmp_path / "photos", 1)
    with pytest.raises(ConfigError, match="is not a results folder with rows in it"):
        draw(tmp_path / "photos")
    start(overlays="none")
    with ResultsFolder(tmp_path / "out", tmp_path / "photos"), pytest.raises(FolderBusyError):
        draw(tmp_path / "out")
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="photos, the input folder, is missing, so no photo can be drawn"):
        draw(tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"where": "scor<0.8"}, "where = scor<0.8: no such column: scor; did you mean score?"),
        ({"limit": 0}, "limit = 0: must be greater"),
        ({"overlay_size": "none"}, "overlay_size = none: must be"),
        ({"redrawn": True}, "redrawn: no such setting; did you mean redraw?"),
    ],
    ids=str,
)
def test_wrong_settings(tmp_path, settings, words):
    with pytest.raises(ConfigError) as raised:
        draw(tmp_path, **settings)
    assert words in str(raised.value)


def test_rows_from_elsewhere_lead_out_of_neither_folder(tmp_path, caplog):
    (photo,) = save_photos(tmp_path / "photos", 1)
    shutil.copy(tmp_path / "photos" / photo, tmp_path / "secret.png")
    content = hashlib.blake2b((tmp_path / "secret.png").read_bytes(), digest_size=16).hexdigest()
    inside = make_row(photo, content_hash=content, overlay="overlays/../../x.png")
    outside = [
        make_row(path, content_hash=content, overlay=None) for path in ("../secret.png", str(tmp_path / "secret.png"))
    ]
    write_run(tmp_path / "out", tmp_path / "photos", [inside, *outside])
    outcome = draw(tmp_path / "out")
    assert (outcome.drawn, outcome.unreadable) == (1, 2)
    assert "../secret.png: its path leads out of the input folder" in caplog.messages
    assert set(overlays(tmp_path / "out")) == {photo}
    assert not list(tmp_path.glob("x*"))
