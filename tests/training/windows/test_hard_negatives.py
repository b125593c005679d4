"""Windows without a defect that the starting model takes for one."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from pipeline.errors import ConfigError, StoppedError
from pipeline.labelled.splits import LabelledPhoto
from pipeline.photos.tiling import Tiling
from pipeline.training.windows.draw import touches_any
from pipeline.training.windows.hard_negatives import HardNegativeSearch
from pipeline.training.windows.photo_store import open_store
from tests.helpers.models import save_tiny_vit
from tests.training.windows.conftest import SIDE


def compute_odds(network, processor, images):
    """The logarithm of the odds of any defect, (n,), by transformers alone."""
    with torch.no_grad():
        logits = network(**processor(images, return_tensors="pt")).logits
    good = network.config.label2id["ok"]
    defects = [number for number in range(logits.shape[1]) if number != good]
    return logits[:, defects].logsumexp(1) - logits[:, good]


@pytest.fixture(scope="module")
def clear_windows(boxed):
    """The windows of a run that touch no box, with their photos' names and their pixels."""
    found = {}
    for photo in boxed:
        with Image.open(photo.file) as image:
            for window in Tiling(SIDE).cut(*image.size):
                if not touches_any(window, [box.box for box in photo.boxes]):
                    found[photo.name, window] = image.crop(window)
    return found


@pytest.fixture(scope="module")
def half_wrong(tiny_checkpoint, clear_windows, tmp_path_factory):
    """A model that takes half of the clear windows for defects, and its odds for each."""
    folder = tmp_path_factory.mktemp("half-wrong") / "model"
    shutil.copytree(tiny_checkpoint("vit"), folder)
    network = AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    odds = compute_odds(network, processor, list(clear_windows.values()))
    with torch.no_grad():
        network.classifier.bias[network.config.label2id["ok"]] += odds.median()
    network.save_pretrained(folder)
    return folder, dict(zip(clear_windows, (odds - odds.median()).tolist(), strict=True))


@pytest.fixture
def store(boxed, processor, tmp_path):
    return open_store(boxed, tmp_path / "train.photos", processor, lambda: False)


@pytest.fixture
def boxes(boxed):
    return {photo.name: tuple(box.box for box in photo.boxes) for photo in boxed}


def search(model, stop=lambda: False):
    return HardNegativeSearch(model, "fp32", SIDE, stop)


def test_found_windows_touch_no_box_and_are_defects_for_the_model(half_wrong, store, boxes, tmp_path, caplog):
    caplog.set_level("INFO")
    model, odds = half_wrong
    found = search(model).find(store, boxes, tmp_path / "hard.jsonl")
    assert not any(touches_any(window, boxes[name]) for name, window in found)
    sure = {place for place, value in odds.items() if value > 1e-3}
    possible = {place for place, value in odds.items() if value > -1e-3}
    assert sure <= set(found) <= possible
    assert 0 < len(found) == len(set(found)) < len(odds)
    assert f"{len(found)} hard negatives: windows without a box that the starting model calls defects" in caplog.text


def test_a_stopped_search_goes_on_from_its_file(half_wrong, store, boxes, tmp_path):
    """The first part is taken from the file as it is, and only the rest is looked for."""
    model, _ = half_wrong
    whole = search(model).find(store, boxes, tmp_path / "whole.jsonl")
    asked = iter(range(100))
    with pytest.raises(StoppedError, match="stopped while looking for hard negatives; run the same command again"):
        search(model, lambda: next(asked) == 4).find(store, boxes, tmp_path / "hard.jsonl")
    lines = (tmp_path / "hard.jsonl").read_text().splitlines()
    assert 0 < len(lines) < len(boxes)
    (tmp_path / "hard.jsonl").write_text("\n".join(['["00.png", [[1, 2, 49, 50]]]', *lines[1:]]) + "\n")
    resumed = search(model).find(store, boxes, tmp_path / "hard.jsonl")
    assert [place for place in resumed if place[0] != "00.png"] == [place for place in whole if place[0] != "00.png"]
    assert [window for name, window in resumed if name == "00.png"] == [(1, 2, 49, 50)]
    assert len((tmp_path / "hard.jsonl").read_text().splitlines()) == len(boxes)
    assert search(model, lambda: True).find(store, boxes, tmp_path / "hard.jsonl") == resumed


def test_a_line_half_written_by_a_kill_is_looked_for_again(half_wrong, store, boxes, tmp_path):
    model, _ = half_wrong
    whole = search(model).find(store, boxes, tmp_path / "hard.jsonl")
    text = (tmp_path / "hard.jsonl").read_text()
    (tmp_path / "hard.jsonl").write_text(text[: len(text) - 9])
    assert search(model).find(store, boxes, tmp_path / "hard.jsonl") == whole


def test_a_model_without_a_good_class_has_no_false_alarms(tmp_path):
    with pytest.raises(ConfigError, match=r"hard_negatives: the starting model has no class called ok, .*") as caught:
        search(save_tiny_vit(tmp_path / "model"))
    assert caught.value.exit_code == 2


def test_hard_windows_of_large_photos_are_found_in_every_chunk(half_wrong, processor, tmp_path):
    """More windows than are held in memory at once."""
    model, _ = half_wrong
    pixels = np.random.default_rng(3).normal(110, 12, (300, 400, 3)).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "large.png")
    photo = LabelledPhoto("large.png", tmp_path / "large.png", "ok", boxes=())
    store = open_store([photo], tmp_path / "large.photos", processor, lambda: False)
    found = search(model).find(store, {"large.png": ()}, tmp_path / "hard.jsonl")
    network = AutoModelForImageClassification.from_pretrained(model, dtype=torch.float32).eval()
    windows = Tiling(SIDE).cut(400, 300)
    assert len(windows) > 64
    with Image.open(photo.file) as image:
        crops = [image.crop(window) for window in windows]
    odds = compute_odds(network, AutoImageProcessor.from_pretrained(model, backend="pil"), crops)
    expected = {window for window, value in zip(windows, odds.tolist(), strict=True) if value > 0}
    close = {window for window, value in zip(windows, odds.tolist(), strict=True) if abs(value) < 1e-3}
    assert {window for _, window in found} ^ expected <= close
