"""A backbone and labelled photos -> a classifier in an ordinary Hugging Face folder.

read -> split -> decode once -> train -> save -> reload -> measure the saved files -> model card
"""

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageClassification
from transformers.utils import logging as transformers_logging

from pipeline.labelled.read import read_labelled_photos
from pipeline.labelled.splits import (
    LabelledPhoto,
    assign_splits,
    check_class_sizes,
    check_splits,
    labels_of,
    split_counts,
    write_split_csv,
)
from pipeline.model.checkpoint import SPLIT_FILE, check_family, resolve_checkpoint
from pipeline.training.backbone import TrainableClassifier, build_classifier, build_processor
from pipeline.training.config import FinetuneConfig
from pipeline.training.data import build_training_data
from pipeline.training.device import TrainingDevice
from pipeline.training.layer_rates import freeze_below
from pipeline.training.loop import TrainingLoop
from pipeline.training.model_card import CardFacts, write_model_card
from pipeline.training.pixel_cache import CachedSplit, decode_splits
from pipeline.training.result import FinetuneResult
from pipeline.training.validation import measure_batches
from pipeline.training.work_folder import open_work_folder

log = logging.getLogger(__name__)


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
    # 1. the starting model and the photos
    start = resolve_checkpoint(config.model)
    check_family(start)
    photos = _read_photos(config)
    processors = _build_processors(config, start.folder, photos)
    classifier = _prepare_classifier(config, start.folder, labels_of(photos))
    with open_work_folder(config, photos, start.digest()) as work:
        # 2. pixels, decoded once
        splits = decode_splits(photos, processors, work, stop)
        _check_readable_photos(splits, labels_of(photos))
        _log_start(config, classifier, splits)
        data = build_training_data(config, classifier.labels, splits, processors["validation"])
        # 3. the training
        training = TrainingLoop(config, classifier.model, data, work, stop)
        training.run()
        # 4. the saved files, measured
        folder = _save_model(config, classifier.model, processors["validation"], work)
        result = FinetuneResult(
            out=config.out,
            labels=classifier.labels,
            counts=_count_photos(splits),
            unreadable=sum(len(split.cache.unreadable) for split in splits.values()),
            epochs=len(training.history),
            seconds=training.seconds,
            metrics=_measure_saved_model(config, splits, folder, training.device, stop),
        )
        # 5. splits and model card; the move into place
        write_split_csv(_all_photos(splits), folder / SPLIT_FILE)
        facts = CardFacts(config, start.config, classifier, result, training.history, training.device.describe())
        write_model_card(facts, folder / "README.md")
        _move_into_place(work, config.out)
        return result


def _read_photos(config: FinetuneConfig) -> list[LabelledPhoto]:
    photos = assign_splits(
        read_labelled_photos(config.data),
        validation_share=config.validation_share,
        test_share=config.test_share,
        seed=config.seed,
    )
    check_splits(photos)
    return photos


def _build_processors(config: FinetuneConfig, folder: Path, photos: Sequence[LabelledPhoto]) -> dict[str, Any]:
    """Build the image processor of each split; training photos stay larger, to be cropped."""
    sizes = dict.fromkeys(split_counts(photos), config.input_size)
    sizes["train"] = config.augmentation.cache_size(config.input_size)
    return {split: build_processor(folder, size) for split, size in sizes.items()}


def _prepare_classifier(config: FinetuneConfig, folder: Path, labels: Sequence[str]) -> TrainableClassifier:
    """Build the classifier and freeze its lower blocks."""
    transformers_logging.disable_progress_bar()
    classifier = build_classifier(folder, labels, input_size=config.input_size, blocks=config.blocks, seed=config.seed)
    freeze_below(classifier.model, config.train_blocks)
    return classifier


def _all_photos(splits: dict[str, CachedSplit]) -> list[LabelledPhoto]:
    return [photo for split in splits.values() for photo in split.photos]


def _count_photos(splits: dict[str, CachedSplit]) -> dict[str, dict[str, int]]:
    """Count the readable photos per split and class."""
    return {split: dict(per_label) for split, per_label in split_counts(_all_photos(splits)).items()}


def _check_readable_photos(splits: dict[str, CachedSplit], labels: Sequence[str]) -> None:
    """Check the splits once more, without the unreadable photos."""
    photos = _all_photos(splits)
    check_class_sizes(photos, labels)
    check_splits(photos)


def _log_start(config: FinetuneConfig, classifier: TrainableClassifier, splits: dict[str, CachedSplit]) -> None:
    labels = classifier.labels
    head = "kept, its classes are the same" if classifier.head_kept else f"new, for {len(labels)} classes"
    log.info(
        "start: %s, %d of %d blocks, input %d px, head %s",
        config.model, classifier.blocks, classifier.blocks_before, config.input_size, head,
    )  # fmt: skip
    for split, per_label in _count_photos(splits).items():
        listed = ", ".join(f"{label} {per_label.get(label, 0)}" for label in labels)
        log.info("%s: %d photos (%s)", split, sum(per_label.values()), listed)


def _save_model(config: FinetuneConfig, model: Any, processor: Any, work: Path) -> Path:
    """Save the weights of the best validation, not the last, as a complete checkpoint; return its folder."""
    model.load_state_dict(load_file(work / "best.safetensors"))
    folder = work / "model"
    shutil.rmtree(folder, ignore_errors=True)
    dtype = torch.float16 if config.save_dtype == "fp16" else torch.float32
    model.config.dtype = dtype
    model.config.vitrollout_purpose = config.purpose  # also if empty: the starting model's purpose was another one
    model.to(dtype).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _measure_saved_model(
    config: FinetuneConfig,
    splits: dict[str, CachedSplit],
    folder: Path,
    device: TrainingDevice,
    stop: Callable[[], bool],
) -> dict[str, dict[str, float]]:
    """Measure the saved files, loaded as a user will load them, rather than the model in memory."""
    model = AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    labels = [model.config.id2label[index] for index in range(len(model.config.id2label))]
    data = build_training_data(config, labels, splits, build_processor(folder, config.input_size))
    model = model.to(device.name)
    return {
        split: asdict(measure_batches(model, data.evaluation_batches(split), device, stop))
        for split in ("validation", "test")
        if split in splits
    }


def _move_into_place(work: Path, out: Path) -> None:
    """Move all files by rename, config.json last: a folder with a config.json is a complete model."""
    files = sorted((work / "model").iterdir(), key=lambda file: file.name == "config.json")
    for file in files:
        file.chmod(0o644)  # safetensors creates files readable by their owner alone
        os.replace(file, out / file.name)
    shutil.rmtree(work)
