"""A backbone and labelled photos -> a classifier in an ordinary Hugging Face folder.

read -> split -> prepare: decode once, choose the recipe, fit a head -> train -> save -> reload -> measure the saved
files -> model card
"""

import logging
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file

from pipeline.dataset.model_in_use import choose_model
from pipeline.dataset.read import Dataset, SplitRequest, find_photo_folder, read_dataset
from pipeline.labelled.csv_table import list_some
from pipeline.labelled.equal_photos import warn_of_equal_photos
from pipeline.labelled.groups import SIMILAR
from pipeline.labelled.near_duplicates import difference_hash, find_near_duplicates, warn_of_near_duplicates
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
from pipeline.training.advice import advise, is_of_little_use
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
from pipeline.training.pixel_cache import CachedSplit
from pipeline.training.prepare import PreparedTraining, TrainingPreparation
from pipeline.training.recipe import plain_recipe
from pipeline.training.result import FinetuneResult
from pipeline.training.validation import Metrics
from pipeline.training.work_folder import open_work_folder

log = logging.getLogger(__name__)

_FEW_PHOTOS = 10


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
    is_grouped = config.group != SIMILAR
    dataset = _deal_photos(config, dataset) if is_grouped else dataset
    labels = choose_classes(start.config, dataset.photos, dataset.class_order, keep_unseen=dataset.is_results)
    check_goal(config, labels)
    with open_work_folder(config, dataset.photos, start.digest()) as work:
        folders = TrainingFolders(start.folder, work, stop)
        if not is_grouped:
            families = group_by_likeness(dataset.photos, labels, plain_recipe(config), folders)
            dataset = _deal_photos(config, replace(dataset, photos=families))
        preparation = TrainingPreparation(config, labels, folders, budget)
        ready = preparation.prepare(dataset.photos, partial(_check_readable_photos, dataset))
        if ready.findings.leak is None or not ready.findings.leak.is_serious:
            _warn_of_near_duplicates(ready.splits)
        _log_start(config, ready)
        training = TrainingLoop(ready.recipe, ready.classifier.model, ready.data, work, stop)
        training.run()
        folder = _save_model(config, ready, work)
        measured = _measure_saved_model(ready, folder, training.device, stop)
        advice = advise(ready, measured, training.judged, config.minutes)
        result = FinetuneResult(
            out=config.out,
            labels=ready.classifier.labels,
            counts=_count_photos(ready.splits),
            unreadable=sum(len(split.cache.unreadable) for split in ready.splits.values()),
            epochs=len(training.history),
            seconds=training.seconds,
            metrics={split: _select_metrics(metrics) for split, metrics in measured.items()},
            f1={split: dict(zip(ready.data.labels, each.f1, strict=True)) for split, each in measured.items()},
            advice=advice,
        )
        _write_split(config, ready.splits, folder)
        first_epoch = 0 if training.start else 1
        best_by, figure = ready.recipe.best_by, folder / "training.png"
        draw_training(training.judged, result.labels, best_by, figure, first_epoch=first_epoch)
        facts = CardFacts(config, start.config, ready, result, training.judged, training.device.describe())
        write_model_card(facts, folder / "README.md")
        _move_into_place(work, config.out)
        _log_end(measured, result)
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
    warn_of_equal_photos(photos)
    return replace(dataset, photos=photos)


def _all_photos(splits: dict[str, CachedSplit]) -> list[LabelledPhoto]:
    return [photo for split in splits.values() for photo in split.photos]


def _write_split(config: FinetuneConfig, splits: dict[str, CachedSplit], folder: Path) -> None:
    """Write the split of each photo, with the way from the finished model to the photos."""
    root = os.path.relpath(find_photo_folder(config.data), config.out)
    write_split_csv(_all_photos(splits), folder / SPLIT_FILE, root=root)


def _count_photos(splits: dict[str, CachedSplit]) -> dict[str, dict[str, int]]:
    """Count the readable photos per split and class."""
    return {split: dict(per_label) for split, per_label in split_counts(_all_photos(splits)).items()}


def _check_readable_photos(dataset: Dataset, splits: dict[str, CachedSplit]) -> None:
    """Check the splits once more, without the unreadable photos."""
    photos = _all_photos(splits)
    check_class_sizes(photos, labels_of(dataset.photos))
    check_splits(photos, each_class_judged=not dataset.is_results)


def _warn_of_near_duplicates(splits: dict[str, CachedSplit]) -> None:
    """Warn of photos that look the same on both sides of a split, by the pixels decoded for the training."""
    placed = [
        (photo, entry, split.cache)
        for split in splits.values()
        for photo, entry in zip(split.photos, split.entries, strict=True)
    ]
    found = find_near_duplicates(
        [difference_hash(cache.read(entry).transpose(1, 2, 0)) for _, entry, cache in placed],
        [photo.split or "" for photo, _, _ in placed],
        [photo.group or photo.name for photo, _, _ in placed],
    )
    warn_of_near_duplicates(found, [photo.name for photo, _, _ in placed])


def _log_start(config: FinetuneConfig, ready: PreparedTraining) -> None:
    classifier, splits = ready.classifier, ready.splits
    labels = classifier.labels
    head = "kept, its classes are the same" if classifier.head_kept else f"new, for {len(labels)} classes"
    if added := classifier.new_classes:
        head = f"kept for its {len(labels) - len(added)} classes, new for {', '.join(added)}"
    log.info(
        "start: %s, %d of %d blocks, input %d px, head %s",
        config.model, classifier.blocks, classifier.blocks_before, ready.recipe.input_size, head,
    )  # fmt: skip
    for split, per_label in _count_photos(splits).items():
        listed = ", ".join(f"{label} {per_label.get(label, 0)}" for label in labels)
        log.info("%s: %d photos (%s)", split, sum(per_label.values()), listed)
    _warn_about_small_classes(_count_photos(splits), labels)


def _warn_about_small_classes(counts: dict[str, dict[str, int]], labels: Sequence[str]) -> None:
    """Name the classes with too few photos to learn or to judge."""
    held_out = "test" if "test" in counts else "validation"
    if missing := [label for label in labels if not counts[held_out].get(label)]:
        log.warning(
            "no photo of %s is in the %s split, so its figures say nothing of them; add photos, or merge classes",
            list_some(map(repr, missing)), held_out,
        )  # fmt: skip
    few = {label: sum(per_label.get(label, 0) for per_label in counts.values()) for label in labels}
    if small := [f"{label!r} ({count})" for label, count in few.items() if count < _FEW_PHOTOS]:
        log.warning("few photos of %s: too few to learn from and to judge by; a class needs %d or more",
                    list_some(small), _FEW_PHOTOS)  # fmt: skip


def _save_model(config: FinetuneConfig, ready: PreparedTraining, work: Path) -> Path:
    """Save the weights of the best validation, not the last, as a complete checkpoint; return its folder."""
    model = ready.classifier.model
    model.load_state_dict(load_file(work / "best.safetensors"))
    folder = work / "model"
    shutil.rmtree(folder, ignore_errors=True)
    dtype = torch.float16 if config.save_dtype == "fp16" else torch.float32
    model.config.dtype = dtype
    model.config.vitrollout_purpose = config.purpose  # also if empty: the starting model's purpose was another one
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


def _select_metrics(metrics: Metrics) -> dict[str, float]:
    """Return the metrics of all classes together by name, without undefined ones."""
    names = ("accuracy", "macro_f1", "loss", "defect_recall", "false_alarms")
    values = {name: getattr(metrics, name) for name in names}
    return {name: value for name, value in values.items() if name == "loss" or not math.isnan(value)}


def _log_end(measured: Mapping[str, Metrics], result: FinetuneResult) -> None:
    """Say what the model is good for, and what to try next."""
    split = "test" if "test" in measured else "validation"
    if is_of_little_use(measured[split]):
        log.warning("with an accuracy of %.2f on %s, this model is of little use yet", measured[split].accuracy, split)
    for sentence in result.advice:
        log.info("%s", sentence)


def _move_into_place(work: Path, out: Path) -> None:
    """Move all files by rename, config.json last: a folder with a config.json is a complete model."""
    files = sorted((work / "model").iterdir(), key=lambda file: file.name == "config.json")
    for file in files:
        file.chmod(0o644)  # safetensors creates files readable by their owner alone
        os.replace(file, out / file.name)
    shutil.rmtree(work)
