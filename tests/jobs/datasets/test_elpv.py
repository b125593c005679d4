"""ELPV's splits and table, on a made-up list of cells; the data set itself is never read."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from jobs.datasets.elpv import find_module_blocks, format_results, label_cells, main, split_blocks, split_random
from pipeline.errors import ConfigError, DataError
from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.measure import gather_scores, measure
from pipeline.evaluation.result import PredictedPhoto
from pipeline.evaluation.write import write_metrics
from pipeline.labelled.read import read_labelled_photos
from pipeline.labelled.splits import LabelledPhoto

# Like ELPV's list: modules of 60 cells one after another, a few cells missing, one module of 72 and one of 48.
RUNS = [("mono", 60), ("poly", 300), ("mono", 180), ("poly", 360), ("mono", 714), ("poly", 530)]
RUNS += [("mono", 72), ("poly", 180), ("mono", 48), ("poly", 180)]
TYPES = [kind for kind, count in RUNS for _ in range(count)]
PROBABILITIES = np.random.default_rng(0).choice([0, 1 / 3, 2 / 3, 1], len(TYPES), p=[0.58, 0.11, 0.04, 0.27])


def test_labels_and_weights() -> None:
    cells = label_cells(np.array([0, 1 / 3, 2 / 3, 1]))
    assert cells["label"].tolist() == ["functional", "functional", "defective", "defective"]
    assert cells["weight"].tolist() == pytest.approx([1, 1 / 3, 2 / 3, 1], abs=1e-4)


def test_blocks_are_contiguous_and_as_many_as_modules() -> None:
    blocks = find_module_blocks(TYPES)
    assert len(set(blocks)) == 44
    assert set(np.diff(blocks)) == {0, 1}
    assert len({(block, kind) for block, kind in zip(blocks, TYPES, strict=True)}) == 44, "no block of two types"
    assert set(np.bincount(blocks)) == {48, 50, 54, 60, 72}


@pytest.mark.parametrize("seed", range(3))
def test_random_split_has_656_cells_for_test_and_the_same_strata_everywhere(seed: int) -> None:
    splits = pd.Series(split_random(PROBABILITIES, TYPES, seed))
    assert splits.value_counts().to_dict() == {"train": 1771, "validation": 197, "test": 656}
    strata = pd.crosstab(splits, [pd.Series(TYPES), pd.Series(PROBABILITIES)], normalize="index")
    assert strata.shape == (3, 8)
    assert (strata - strata.mean()).abs().max(axis=None) < 0.005


@pytest.mark.parametrize("seed", range(3))
def test_block_split_keeps_blocks_whole(seed: int) -> None:
    cells = pd.DataFrame({"split": split_blocks(PROBABILITIES, TYPES, seed), "block": find_module_blocks(TYPES)})
    assert (cells.groupby("block")["split"].nunique() == 1).all()
    assert cells["split"].value_counts()["test"] == pytest.approx(656, abs=30)
    assert cells["split"].value_counts()["validation"] == pytest.approx(197, abs=60)


@pytest.mark.parametrize("split", [split_random, split_blocks])
def test_seeds_give_different_splits_and_the_same_one_again(split) -> None:
    drawn = [tuple(split(PROBABILITIES, TYPES, seed)) for seed in (0, 0, 1, 2)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3


@pytest.fixture
def elpv_package(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Replace the installed package by one with small photos."""
    photos = np.random.default_rng(1).integers(0, 255, (len(TYPES), 4, 4), dtype=np.uint8)
    module = ModuleType("elpv_dataset.utils")
    module.load_dataset = lambda: (photos, PROBABILITIES, np.array(TYPES))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "elpv_dataset", ModuleType("elpv_dataset"))
    monkeypatch.setitem(sys.modules, "elpv_dataset.utils", module)
    return photos


@pytest.mark.usefixtures("elpv_package")
def test_prepare_writes_what_finetune_reads(tmp_path: Path) -> None:
    for split in ("random", "blocks"):
        result = CliRunner().invoke(main, ["prepare", "--out", str(tmp_path), "--split", split, "--seed", "4"])
        assert result.exit_code == 0, result.output
        photos = read_labelled_photos(tmp_path / f"{split}-4.csv")
        assert len(photos) == len(TYPES)
        assert {photo.split for photo in photos} == {"train", "validation", "test"}
        assert {round(photo.weight, 2) for photo in photos} == {0.33, 0.67, 1.0}
    assert len(list((tmp_path / "cells").iterdir())) == len(TYPES)


@pytest.mark.usefixtures("elpv_package")
def test_half_written_photo_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(_: Image.Image, file: Path, *rest: object) -> None:
        file.write_bytes(b"\x89PNG")
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(Image.Image, "save", cut)
        CliRunner().invoke(main, ["prepare", "--out", str(tmp_path)])
    assert list((tmp_path / "cells").iterdir()) == []
    assert CliRunner().invoke(main, ["prepare", "--out", str(tmp_path)]).exit_code == 0
    for file in (tmp_path / "cells").iterdir():
        Image.open(file).load()


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "elpv_dataset.utils", None)
    result = CliRunner().invoke(main, ["prepare", "--out", str(tmp_path)])
    assert isinstance(result.exception, ConfigError)
    assert "vitrollout[bench]" in str(result.exception)


def write_results(folder: Path, right: int) -> Path:
    """Write the metrics of a hundred cells as `vitrollout evaluate` does; half are defective, `right` are correct."""
    folder.mkdir()
    labels = ("defective", "functional")
    truth = np.arange(100) % 2
    called = np.where(np.arange(100) < right, truth, 1 - truth)
    judged = [
        PredictedPhoto(LabelledPhoto(f"{index}.png", Path(f"{index}.png"), labels[label], 1.0, "test"), np.eye(2)[call])
        for index, (label, call) in enumerate(zip(truth, called, strict=True))
    ]
    config = EvaluateConfig(data=folder, resamples=0)
    scores = gather_scores(judged, labels, "test", ("defective",))
    write_metrics(measure(scores, config), {}, folder / "metrics.json")
    return folder


def test_table_has_mean_and_spread_over_seeds(tmp_path: Path) -> None:
    folders = [write_results(tmp_path / f"random-{seed}", 88 + seed) for seed in range(3)]
    folders.append(write_results(tmp_path / "blocks-0", 50))
    lines = format_results(folders).splitlines()
    assert lines[0] == "| split | seeds | accuracy | balanced accuracy | F1 (defective) | ROC AUC | average precision |"
    assert lines[2].startswith("| random | 3 | 0.890 ± 0.010 | 0.890 ± 0.010 | 0.890 ± 0.010 | 0.890 ± 0.010 |")
    assert lines[3].startswith("| blocks | 1 | 0.500 |")


def test_a_folder_without_metrics_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"metrics\.json: No such file.*vitrollout evaluate"):
        format_results([tmp_path])
    (tmp_path / "metrics.json").write_text('{"metrics": {"accuracy": {"value": 1}}}', encoding="utf-8")
    with pytest.raises(DataError, match=r"no number 'metrics\.balanced_accuracy'"):
        format_results([tmp_path])
