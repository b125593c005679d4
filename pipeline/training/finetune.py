"""A backbone and labelled photos -> a classifier in an ordinary Hugging Face folder.

read -> split -> prepare: decode once, choose the recipe, fit a head -> train -> save -> reload -> measure the saved
files -> model card
"""

import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from pipeline.dataset.model_in_use import choose_model
from pipeline.dataset.read import Dataset, SplitRequest, find_photo_folder, read_dataset
from pipeline.labelled.equal_photos import warn_of_equal_photos
from pipeline.labelled.groups import SIMILAR
from pipeline.labelled.splits import (
    LabelledPhoto,
    assign_splits,
    check_class_sizes,
    check_splits,
    labels_of,
    split_counts,
    write_split_csv,
)
from pipeline.model.check_checkpoint import check_checkpoint
from pipeline.model.checkpoint import SPLIT_FILE, resolve_checkpoint
from pipeline.model.choose_tile import TILE_KEY
from pipeline.training.advice import advise
from pipeline.training.announcements import announce_end, announce_start
from pipeline.training.choose_recipe import Budget, check_goal
from pipeline.training.classes import choose_classes
from pipeline.training.config import FinetuneConfig
from pipeline.training.device import TrainingDevice
from pipeline.training.figure import draw_training
from pipeline.training.folders import TrainingFolders
from pipeline.training.likeness_groups import group_by_likeness
from pipeline.training.loop import TrainingLoop
from pipeline.training.measure_saved import SavedModel
from pipeline.training.model_card import CardFacts, write_model_card
from pipeline.training.pixel_cache import CachedSplit, decode_splits
from pipeline.training.prepare import PreparedTraining, TrainingPreparation
from pipeline.training.recipe import plain_recipe
from pipeline.training.result import FinetuneResult
from pipeline.training.validation import Metrics
from pipeline.training.windows.decode_windows import WindowDecoder
from pipeline.training.windows.good_bias import correct_good_bias
from pipeline.training.windows.hard_negatives import HardNegativeSearch
from pipeline.training.windows.plan import PhotoWindow, list_whole_photos, plan_windows
from pipeline.training.work_folder import open_work_folder


def finetune(config: FinetuneConfig, *, stop: Callable[[], bool] = lambda: False) -> FinetuneResult:
    """Train a classifier and save it. Resumes an interrupted training with equal settings.

    Args:
        config: all settings.
        stop: asked after each step; once it returns true, the training saves a checkpoint and ends.

    Raises:
        ConfigError, DataError, ModelError: nothing was trained; the message says what to change.
        StoppedError: `stop()` returned true; run it again to go on.
        FolderBusyError: another training holds the folder.
    """
    budget = Budget(config.minutes)
    config = choose_model(config, config.data)
    start = resolve_checkpoint(config.model)
    check_checkpoint(start)
    dataset = read_dataset(config, SplitRequest(config.shares, config.seed, least_score=config.also))
    if config.tile is not None:
        dataset = replace(dataset, photos=[*plan_windows(dataset.photos, config.tile)])
    if config.group != SIMILAR:
        dataset = _deal_photos(config, dataset)
    labels = choose_classes(start.config, dataset.photos, dataset.class_order, keep_unseen=dataset.is_results)
    check_goal(config, labels)
    with open_work_folder(config, dataset.photos, start.digest()) as work:
        folders = TrainingFolders(start.folder, work, stop)
        if config.group == SIMILAR:
            families = group_by_likeness(dataset.photos, labels, plain_recipe(config), folders)
            dataset = _deal_photos(config, replace(dataset, photos=families))
        preparation = TrainingPreparation(config, labels, folders, budget)
        decode = _choose_decoder(config, dataset.photos, folders)
        ready = preparation.prepare(dataset.photos, decode, partial(_check_readable_photos, dataset))
        announce_start(config, ready)
        training = TrainingLoop(ready.recipe, ready.classifier.model, ready.data, work, stop)
        training.run()
        folder = _save_model(config, ready, work, training.device)
        measured = _measure_saved_model(ready, folder, training.device, stop)
        result = _summarise(config, ready, training, measured)
        facts = CardFacts(config, start.config, ready, result, training.judged, training.device.describe())
        _write_documents(facts, folder)
        _move_into_place(work, config.out)
        announce_end(measured, result)
        return result


def _deal_photos(config: FinetuneConfig, dataset: Dataset) -> Dataset:
    """Give each photo a split."""
    photos = assign_splits(
        dataset.photos,
        validation_share=config.validation_share,
        test_share=config.test_share,
        seed=config.seed,
    )
    check_splits(photos, each_class_judged=not dataset.is_results)
    warn_of_equal_photos(list_whole_photos(photos))
    return replace(dataset, photos=photos)


def _choose_decoder(
    config: FinetuneConfig, photos: Sequence[LabelledPhoto], folders: TrainingFolders
) -> Callable[[dict[str, Any]], dict[str, CachedSplit]]:
    """Return the function from the image processor of each split to its pixels: of whole photos, or of windows."""
    if config.tile is None:
        return partial(decode_splits, photos, work=folders.work, stop=folders.stop)
    windows = [photo for photo in photos if isinstance(photo, PhotoWindow)]
    search = None
    if config.hard_negatives:
        search = HardNegativeSearch(folders.start, config.precision, config.tile, folders.stop)
    return WindowDecoder(windows, config.tile, config.seed, folders.work, folders.stop, search).decode


def _check_readable_photos(dataset: Dataset, splits: dict[str, CachedSplit]) -> None:
    """Check the splits once more, without the unreadable photos."""
    photos = [photo for split in splits.values() for photo in split.photos]
    check_class_sizes(photos, labels_of(dataset.photos))
    check_splits(photos, each_class_judged=not dataset.is_results)


def _save_model(config: FinetuneConfig, ready: PreparedTraining, work: Path, device: TrainingDevice) -> Path:
    """Save the weights of the best validation, not the last, as a complete checkpoint; return its folder."""
    model = ready.classifier.model
    model.load_state_dict(load_file(work / "best.safetensors"))
    if config.hard_negatives:
        correct_good_bias(model, ready.data, device)
    folder = work / "model"
    shutil.rmtree(folder, ignore_errors=True)
    dtype = torch.float16 if config.save_dtype == "fp16" else torch.float32
    model.config.dtype = dtype
    model.config.vitrollout_purpose = config.purpose  # also if empty: the starting model's purpose was another one
    vars(model.config).pop(TILE_KEY, None)  # that of the starting model
    if config.tile is not None:
        setattr(model.config, TILE_KEY, config.tile)
    model.to(dtype).save_pretrained(folder)
    ready.processor.save_pretrained(folder)
    return folder


def _measure_saved_model(
    ready: PreparedTraining, folder: Path, device: TrainingDevice, stop: Callable[[], bool]
) -> dict[str, Metrics]:
    """Measure the saved files as evaluate does, and write the files beside them; return the metrics by split."""
    saved = SavedModel(folder, ready.data, device, ready.recipe.precision, stop)
    measured = saved.measure()
    saved.write_familiarity(ready.recipe.seed)
    saved.write_map_scales()
    return measured


def _summarise(
    config: FinetuneConfig, ready: PreparedTraining, training: TrainingLoop, measured: Mapping[str, Metrics]
) -> FinetuneResult:
    return FinetuneResult(
        out=config.out,
        labels=ready.classifier.labels,
        counts={split: dict(per_label) for split, per_label in split_counts(ready.photos).items()},
        unreadable=sum(len(split.cache.unreadable) for split in ready.splits.values()),
        epochs=len(training.history),
        seconds=training.seconds,
        metrics={split: _select_metrics(metrics) for split, metrics in measured.items()},
        f1={split: dict(zip(ready.data.labels, metrics.f1, strict=True)) for split, metrics in measured.items()},
        advice=advise(ready, measured, training.judged, config.minutes),
    )


def _select_metrics(metrics: Metrics) -> dict[str, float]:
    """Return the metrics of all classes together by name, without undefined ones."""
    names = ("accuracy", "macro_f1", "loss", "defect_recall", "false_alarms")
    values = {name: getattr(metrics, name) for name in names}
    return {name: value for name, value in values.items() if name == "loss" or not math.isnan(value)}


def _write_documents(facts: CardFacts, folder: Path) -> None:
    """Write the split of each photo, the course of the training as a picture, and the card."""
    config, ready = facts.config, facts.ready
    root = os.path.relpath(find_photo_folder(config.data), config.out)  # from the finished model to the photos
    write_split_csv(list_whole_photos(ready.photos), folder / SPLIT_FILE, root=root)
    figure, first_epoch = folder / "training.png", 0 if ready.recipe.judges_start else 1
    draw_training(facts.history, facts.result.labels, ready.recipe.best_by, figure, first_epoch=first_epoch)
    write_model_card(facts, folder / "README.md")


def _move_into_place(work: Path, out: Path) -> None:
    """Move all files by rename, config.json last: a folder with a config.json is a complete model."""
    files = sorted((work / "model").iterdir(), key=lambda file: file.name == "config.json")
    for file in files:
        file.chmod(0o644)  # safetensors creates files readable by their owner alone
        os.replace(file, out / file.name)
    shutil.rmtree(work)
