"""The run as a library call: photos in, rows and overlays out, and nothing done twice."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.special import softmax

import pipeline
from pipeline.errors import ConfigError
from tests.helpers.models import save_tiny_vit
from tests.helpers.photos import save_photos


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(save_tiny_vit(tmp_path_factory.mktemp("model")))


@pytest.fixture
def start(tmp_path, model):
    """Runs over tmp_path/photos into tmp_path/out, with a tiny model."""

    def run(**settings):
        settings = {"input": tmp_path / "photos", "out": tmp_path / "out", "model": model} | settings
        stop = settings.pop("stop", lambda: False)
        return pipeline.run(pipeline.RunConfig(**settings), stop=stop)

    return run


def size_of(picture):
    with Image.open(picture) as image:
        return image.size


def test_one_row_and_one_overlay_a_photo(tmp_path, start):
    names = save_photos(tmp_path / "photos" / "a", 11)
    summary = start()
    assert (summary.found, summary.processed, summary.ok, summary.failed) == (11, 11, 11, 0)
    frame = pipeline.read_results(tmp_path / "out")
    assert frame["path"].tolist() == [f"a/{name}" for name in names]
    assert set(frame["status"]) == {"ok"}
    for row in frame.itertuples():
        assert row.overlay == f"overlays/{row.path}.png"
        assert size_of(tmp_path / "out" / row.overlay) == (48, 40) == (row.width, row.height)
        assert row.label_id == row.logits.argmax()
        assert row.score == pytest.approx(softmax(row.logits.astype(float))[row.label_id], abs=1e-6)
        assert row.label == f"class-{row.label_id}" == row.top_labels[0]
        assert list(row.top_scores) == sorted(row.top_scores, reverse=True)
        assert sum(row.top_scores) == pytest.approx(1, abs=1e-5)
        assert row.map_box.tolist() == [0, 0, 48, 40]
    assert pipeline.stack_attention(frame).shape == (11, 4, 4)
    assert len({tuple(map_) for map_ in frame["attention"]}) == 11


def test_rows_belong_to_their_photos_whatever_the_batch(tmp_path, start):
    """Each photo alone gives what it gives among others, some of them broken."""
    names = save_photos(tmp_path / "photos", 7)
    for broken in ("photo-0000a.png", "photo-0003a.png", "photo-0005a.png"):
        (tmp_path / "photos" / broken).write_bytes(b"no image")
    start(precision="fp32", batch_size=3, workers=2)
    together = pipeline.read_results(tmp_path / "out").set_index("path")
    assert together["status"].astype(str).value_counts().to_dict() == {"ok": 7, "failed": 3}
    for name in names:
        alone = tmp_path / "alone" / name
        alone.mkdir(parents=True)
        shutil.copy(tmp_path / "photos" / name, alone)
        start(input=alone, out=tmp_path / "single" / name, precision="fp32", batch_size=1)
        single = pipeline.read_results(tmp_path / "single" / name).iloc[0]
        np.testing.assert_allclose(together.loc[name, "logits"], single["logits"], atol=1e-4)
        np.testing.assert_allclose(together.loc[name, "attention"], single["attention"], atol=1e-6)
        assert together.loc[name, "content_hash"] == single["content_hash"]


def test_second_run_has_nothing_to_do(tmp_path, start):
    save_photos(tmp_path / "photos", 3)
    start()
    again = start()
    assert (again.found, again.done_before, again.processed) == (3, 3, 0)
    assert len(list((tmp_path / "out" / "table").iterdir())) == 1


def test_new_changed_and_touched_files(tmp_path, start):
    photos = tmp_path / "photos"
    names = save_photos(photos, 4)
    start()
    before = pipeline.read_results(tmp_path / "out").set_index("path")
    shutil.copy(photos / names[1], photos / names[0])  # other content
    os.utime(photos / names[2], ns=(5, 5))  # same content
    Image.new("RGB", (20, 20), "red").save(photos / "new.png")
    summary = start()
    assert (summary.processed, summary.done_before) == (2, 3)
    after = pipeline.read_results(tmp_path / "out").set_index("path")
    assert after.loc[names[0], "content_hash"] == before.loc[names[1], "content_hash"]
    assert after.loc[names[2], "mtime"] == pd.Timestamp(5, tz="UTC")
    assert after.loc[names[2], "processed_at"] == before.loc[names[2], "processed_at"]
    assert len(after) == 5
    assert start().processed == 0


def test_same_size_other_content_is_seen(tmp_path, start):
    (tmp_path / "photos").mkdir()
    for shade in (10, 200):
        Image.new("L", (16, 16), shade).save(tmp_path / "photos" / "a.bmp")
        os.utime(tmp_path / "photos" / "a.bmp", ns=(shade, shade))
        assert start().processed == 1


@pytest.mark.parametrize(
    "change",
    [
        {"method": "article"},
        {"head_fusion": "max"},
        {"discard_ratio": 0.5},
        {"precision": "fp32"},
        {"input_size": 64},
        {"exact_decode": True},
        {"rescale": False},
    ],
    ids=str,
)
def test_settings_that_change_numbers_run_again(tmp_path, start, change):
    save_photos(tmp_path / "photos", 1)
    start(precision="bf16")
    assert start(**{"precision": "bf16"} | change).processed == 1
    assert len(pipeline.read_results(tmp_path / "out")) == 1


def test_settings_that_change_no_numbers_run_nothing(tmp_path, start):
    save_photos(tmp_path / "photos", 2)
    start()
    changes = {"batch_size": 1, "workers": 2, "overlay_size": None, "style": "article", "colormap": "viridis"}
    assert start(**changes, overlay_opacity=0.2, part_rows=1, decode_seconds=5).processed == 0


def test_other_weights_run_again(tmp_path, start):
    save_photos(tmp_path / "photos", 1)
    start()
    other = save_tiny_vit(tmp_path / "other", seed=1)
    assert start(model=str(other)).processed == 1


def test_failed_files_are_done_until_asked_for(tmp_path, start):
    save_photos(tmp_path / "photos", 1)
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"")
    assert start().failed == 1
    assert start().processed == 0
    assert start(retry_failed=True).failed == 1
    assert (start().standing, start().exit_code) == (1, 3)


def test_limit_takes_the_first_that_are_left(tmp_path, start):
    save_photos(tmp_path / "photos", 5)
    assert [start(limit=2).processed for _ in range(4)] == [2, 2, 1, 0]


def test_stop_commits_what_is_done_and_the_next_run_does_the_rest(tmp_path, start):
    save_photos(tmp_path / "photos", 20)
    asked = iter(range(1_000_000))
    summary = start(batch_size=4, stop=lambda: next(asked) > 12)
    assert summary.interrupted
    assert 0 < summary.processed < 20
    assert len(pipeline.read_results(tmp_path / "out")) == summary.processed
    rest = start(batch_size=4)
    assert rest.processed == 20 - summary.processed
    assert not rest.interrupted


def test_overlays_off(tmp_path, start):
    save_photos(tmp_path / "photos", 2)
    start(overlay_size=None)
    assert not list((tmp_path / "out" / "overlays").iterdir())
    assert pipeline.read_results(tmp_path / "out")["overlay"].isna().all()


def test_overlay_size_is_the_longest_side_and_never_enlarges(tmp_path, start):
    save_photos(tmp_path / "photos", 1, size=(300, 150))
    start(overlay_size=100)
    assert size_of(tmp_path / "out" / "overlays" / "photo-0000.png.png") == (100, 50)
    start(out=tmp_path / "large", overlay_size=4096)
    assert size_of(tmp_path / "large" / "overlays" / "photo-0000.png.png") == (300, 150)


def test_record_says_what_ran(tmp_path, start, model):
    save_photos(tmp_path / "photos", 2)
    summary = start(discard_ratio=0.25)
    record = json.loads((tmp_path / "out" / "runs" / f"{summary.run_id}.json").read_text())
    assert record["settings"]["discard_ratio"] == 0.25
    assert record["input"] == str(tmp_path / "photos")
    assert record["processed"] == 2
    assert {"torch", "transformers", "vitrollout"} <= set(record["versions"])
    assert {"photos", "model", "overlays", "table"} <= set(record["seconds_by_stage"])


def test_parts_of_models_with_other_grids_open_together(tmp_path, start):
    save_photos(tmp_path / "photos", 2)
    start()
    save_photos(tmp_path / "photos", 3)
    start(model=str(save_tiny_vit(tmp_path / "fine", patch_size=4)), limit=1)
    grids = pipeline.read_results(tmp_path / "out")["grid_h"].astype(int).tolist()
    assert sorted(grids) == [4, 8]
    assert len(pd.read_parquet(tmp_path / "out" / "table")) == 3


def test_folder_without_photos_is_refused(tmp_path, start):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "notes.txt").write_text("no photo")
    with pytest.raises(ConfigError, match="no photos"):
        start()
    assert not (tmp_path / "out").exists()


def test_model_that_gives_no_numbers_is_a_failed_row(tmp_path, start, caplog):
    import safetensors.torch

    broken = save_tiny_vit(tmp_path / "broken")
    weights = safetensors.torch.load_file(broken / "model.safetensors")
    weights["classifier.weight"].fill_(3e38)  # finite, as loading asks for; the product overflows
    safetensors.torch.save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    save_photos(tmp_path / "photos", 1)
    assert start(model=str(broken)).failed == 1
    assert "not finite" in pipeline.read_results(tmp_path / "out")["error"][0]
    assert "photo-0000.png: the model's output is not finite" in caplog.text
    assert list((tmp_path / "out" / "overlays").iterdir()) == []


def test_results_reached_by_a_link_are_no_input(tmp_path, start):
    save_photos(tmp_path / "photos", 2)
    (tmp_path / "photos" / "back").symlink_to(tmp_path, target_is_directory=True)
    found = [start(follow_links=True).found for _ in range(3)]
    assert found == [2, 2, 2]


def test_run_with_nothing_to_do_imports_neither_torch_nor_pandas(tmp_path, model, start):
    save_photos(tmp_path / "photos", 2)
    start(device="cpu")
    script = (
        "import sys, pipeline\n"
        "done = pipeline.run(pipeline.RunConfig(input=sys.argv[1], out=sys.argv[2], model=sys.argv[3], device='cpu'))\n"
        "print(done.done_before, *{'torch', 'transformers', 'pandas'} & set(sys.modules))"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path / "photos"), str(tmp_path / "out"), model]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2"]
