"""The files beside a saved model: what is familiar to it, and the colour scale of its maps."""

import logging

import numpy as np
import pytest
from PIL import Image

from pipeline.config import RunConfig
from pipeline.model.checkpoint import resolve_checkpoint
from pipeline.model.familiarity_file import read_familiarity
from pipeline.model.map_scale import read_map_scales
from pipeline.results.read import read_results
from pipeline.run import run
from pipeline.training.finetune import finetune
from tests.training.marked_photos import save_marked_photos


@pytest.fixture(scope="module")
def results(finished, photos, tmp_path_factory):
    """The table of a run over the photos of the training, and ten photos of pure noise."""
    folder, random = tmp_path_factory.mktemp("run"), np.random.default_rng(0)
    save_marked_photos(folder / "photos", 10)
    (folder / "photos" / "noise").mkdir()
    for index in range(10):
        pixels = random.integers(0, 256, (52, 60, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / "noise" / f"{index}.png")
    run(RunConfig(input=folder / "photos", out=folder / "out", model=str(finished.out), overlay_size="none"))
    return read_results(folder / "out").set_index("path")


def test_files_are_bound_to_the_weights(finished):
    checkpoint = resolve_checkpoint(str(finished.out))
    assert read_familiarity(checkpoint.folder, checkpoint.digest()) is not None
    scales = read_map_scales(checkpoint.folder, checkpoint.digest())
    assert scales.scales
    assert all(scale.low < scale.high for scale in scales.scales)


def test_runs_tell_noise_from_photos_like_those_of_the_training(results):
    unfamiliar = results["unfamiliar"].astype(float)
    is_noise = results.index.str.startswith("noise/")
    assert unfamiliar[is_noise].median() > unfamiliar[~is_noise].quantile(0.9)


def test_without_enough_photos_runs_tell_nothing(settings, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    finetune(settings(data=save_marked_photos(tmp_path / "photos", 2)))
    said = "runs will not tell unfamiliar photos: " in caplog.text
    assert said != (tmp_path / "out" / "familiarity.safetensors").exists()
