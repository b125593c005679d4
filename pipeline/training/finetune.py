"""A backbone and labelled photos -> a classifier in an ordinary Hugging Face folder.

read -> split -> decode once -> train -> save -> reload -> measure what was saved -> model card
"""

import json
import logging
import os
import platform
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageClassification
from transformers.utils import logging as transformers_logging

from pipeline.errors import StoppedError
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
from pipeline.model.allocator import keep_freed_memory
from pipeline.model.checkpoint import check_family, resolve_checkpoint
from pipeline.training.backbone import TrainableClassifier, build_classifier, build_processor
from pipeline.training.config import FinetuneConfig
from pipeline.training.layer_rates import freeze_below
from pipeline.training.loop import Checkpoints, has_stalled, last_whole_checkpoint, seconds_until
from pipeline.training.model_card import CardFacts, write_model_card
from pipeline.training.result import FinetuneResult
from pipeline.training.setup import build_trainer, split_dataset
from pipeline.training.trainer import PhotoTrainer
from pipeline.training.work_folder import CachedSplit, decode_splits, open_work_folder

log = logging.getLogger(__name__)


def finetune(config: FinetuneConfig, *, stop: Callable[[], bool] = lambda: False) -> FinetuneResult:
    """Train a classifier and save it; goes on where an interrupted training of equal settings stopped.

    Raises:
        ConfigError, DataError, ModelError: nothing was trained; the message says what to change.
        StoppedError: `stop()` said so, asked after each step; run it again to go on.
        FolderBusyError: another training holds the folder.
    """
    transformers_logging.disable_progress_bar()
    start = resolve_checkpoint(config.model)
    check_family(start)
    photos = assign_splits(
        read_labelled_photos(config.data),
        validation_share=config.validation_share,
        test_share=config.test_share,
        seed=config.seed,
    )
    check_splits(photos)
    processors = _processors(config, start.folder, photos)
    classifier = build_classifier(
        start.folder, labels_of(photos), input_size=config.input_size, blocks=config.blocks, seed=config.seed
    )
    freeze_below(classifier.model, config.train_blocks)
    with open_work_folder(config, photos, start.digest()) as work:
        splits = decode_splits(photos, processors, work, stop)
        readable = [photo for split in splits.values() for photo in split.photos]
        check_class_sizes(readable, labels_of(photos))
        check_splits(readable)
        _announce(config, classifier, readable)
        trainer = build_trainer(config, classifier, processors["validation"], splits, work, stop)
        seconds = _train(trainer, config, work, stop)
        _save_model(config, trainer.network, processors["validation"], work)
        result = FinetuneResult(
            out=config.out,
            labels=classifier.labels,
            counts={split: dict(per_label) for split, per_label in split_counts(readable).items()},
            unreadable=len(photos) - len(readable),
            epochs=round(trainer.state.epoch),
            seconds=seconds,
            metrics=_measure_saved(config, trainer, splits, work),
        )
        write_split_csv(readable, work / "model" / "split.csv")
        facts = CardFacts(config, start.config, classifier, result, trainer.state.log_history, _machine(trainer))
        write_model_card(facts, work / "model" / "README.md")
        _move_into_place(work, config.out)
        return result


def _processors(config: FinetuneConfig, folder: Path, photos: Sequence[LabelledPhoto]) -> dict[str, Any]:
    """The image processor that makes each split's pixels; crops need larger ones."""
    sizes = dict.fromkeys(split_counts(photos), config.input_size)
    sizes["train"] = config.augmentation.cache_size(config.input_size)
    return {split: build_processor(folder, size) for split, size in sizes.items()}


def _announce(config: FinetuneConfig, classifier: TrainableClassifier, photos: Sequence[LabelledPhoto]) -> None:
    head = "kept, its classes are the same" if classifier.head_kept else f"new, for {len(classifier.labels)} classes"
    log.info(
        "start: %s, %d of %d blocks, input %d px, head %s",
        config.model, classifier.blocks, classifier.blocks_before, config.input_size, head,
    )  # fmt: skip
    for split, per_label in split_counts(photos).items():
        listed = ", ".join(f"{label} {per_label[label]}" for label in classifier.labels)
        log.info("%s: %d photos (%s)", split, sum(per_label.values()), listed)


def _train(trainer: PhotoTrainer, config: FinetuneConfig, work: Path, stop: Callable[[], bool]) -> float:
    """Train to the end, or on from the last checkpoint; returns the seconds of all sittings."""
    last = last_whole_checkpoint(work)
    clock = next(item for item in trainer.callback_handler.callbacks if isinstance(item, Checkpoints))
    if last is not None:
        state = json.loads((last / "trainer_state.json").read_text())
        finished = state["global_step"] >= state["max_steps"]
        if finished or has_stalled(state["log_history"], config.best_by, config.patience):
            trainer.state = trainer.state.load_from_json(str(last / "trainer_state.json"))
            return seconds_until(last)
        log.info("going on from step %d of %d", state["global_step"], state["max_steps"])
    keep_freed_memory()
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    if clock.leaving:
        done, all_steps = trainer.state.global_step, trainer.state.max_steps
        raise StoppedError(f"stopped at step {done} of {all_steps}, which is saved; run the same command to go on")
    return clock.seconds_trained


def _save_model(config: FinetuneConfig, model: Any, processor: Any, work: Path) -> None:
    """The best weights, not the last, with all that makes the folder a checkpoint."""
    model.load_state_dict(load_file(work / "best.safetensors"))
    folder = work / "model"
    shutil.rmtree(folder, ignore_errors=True)
    dtype = torch.float16 if config.save_dtype == "fp16" else torch.float32
    model.config.dtype = dtype
    model.config.vitrollout_purpose = config.purpose  # also where it is empty: the start's own is another's
    model.to(dtype).save_pretrained(folder)
    processor.save_pretrained(folder)


def _measure_saved(
    config: FinetuneConfig, trainer: PhotoTrainer, splits: dict[str, CachedSplit], work: Path
) -> dict[str, dict[str, float]]:
    """Metrics of the files as a user will load them, not of the model in memory."""
    model = AutoModelForImageClassification.from_pretrained(
        work / "model", dtype=torch.float32, attn_implementation="eager"
    )
    labels = [model.config.id2label[place] for place in range(len(model.config.id2label))]
    trainer.model = trainer.model_wrapped = model.to(trainer.args.device)
    trainer.accelerator.free_memory()  # it knows the trained model; this one gets its mixed precision anew
    metrics: dict[str, dict[str, float]] = {}
    for split in ("validation", "test"):
        if split in splits:
            dataset: Any = split_dataset(config, labels, splits[split], training=False)
            found: Any = trainer.predict(dataset, metric_key_prefix=split).metrics
            metrics[split] = {name: found[f"{split}_{name}"] for name in ("accuracy", "macro_f1", "loss")}
    return metrics


def _machine(trainer: PhotoTrainer) -> str:
    if trainer.args.device.type == "cuda":
        return torch.cuda.get_device_name(trainer.args.device)
    return f"{os.cpu_count()} CPU cores ({platform.machine()}), {'bf16' if trainer.args.bf16 else 'fp32'}"


def _move_into_place(work: Path, out: Path) -> None:
    """Every file by rename, config.json last: a folder with it is a whole model."""
    files = sorted((work / "model").iterdir(), key=lambda file: file.name == "config.json")
    for file in files:
        file.chmod(0o644)  # safetensors writes files that nobody else may read
        os.replace(file, out / file.name)
    shutil.rmtree(work)
