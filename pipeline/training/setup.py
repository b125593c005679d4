"""Settings -> a trainer that is ready to go."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score
from sklearn.utils.class_weight import compute_sample_weight
from transformers import EvalPrediction, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from pipeline.model.classifier import normalisation
from pipeline.model.device import choose_device, choose_precision
from pipeline.training.backbone import TrainableClassifier
from pipeline.training.config import FinetuneConfig
from pipeline.training.loop import BestModel, Checkpoints, Progress
from pipeline.training.trainer import CachedPhotos, EpochOrder, Normalise, PhotoTrainer
from pipeline.training.work_folder import CachedSplit

_CLASS_WEIGHT_POWER = {"balanced": 1.0, "sqrt": 0.5, "none": 0.0}  # of how much rarer than the average class it is


def build_trainer(
    config: FinetuneConfig,
    classifier: TrainableClassifier,
    processor: Any,
    splits: dict[str, CachedSplit],
    work: Path,
    stop: Callable[[], bool],
) -> PhotoTrainer:
    """The trainer for these settings; `stop` is asked after each step.

    Args:
        config: all settings.
        classifier: what is trained.
        processor: whose rescale and normalise the batches get.
        splits: pixels of at least train and validation.
        work: where checkpoints and the best weights go.
        stop: once true, a checkpoint is saved and the training leaves.
    """
    train = splits["train"]
    order = EpochOrder(len(train.photos), config.seed)
    trainer = PhotoTrainer(
        order=order,
        layer_decay=config.layer_decay,
        model=classifier.model,
        args=_arguments(config, work),
        train_dataset=split_dataset(config, classifier.labels, train, training=True),
        eval_dataset=split_dataset(config, classifier.labels, splits["validation"], training=False),
        data_collator=Normalise(*normalisation(processor)),
        compute_metrics=_metrics,
        callbacks=[
            BestModel(work / "best.safetensors", config.best_by, config.patience),
            Checkpoints(work, stop, order, config.checkpoint_seconds),
            Progress(config.batch_size),
        ],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    return trainer


def _arguments(config: FinetuneConfig, work: Path) -> TrainingArguments:
    device = choose_device("auto")
    precision = "fp32" if device == "mps" else choose_precision(config.precision, device)
    return TrainingArguments(
        output_dir=str(work),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=2 * config.batch_size,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        lr_scheduler_type="cosine",
        warmup_steps=config.warmup_share,
        label_smoothing_factor=config.label_smoothing,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        use_cpu=device == "cpu",
        eval_strategy="epoch",
        save_strategy="no",  # Checkpoints decides when
        save_total_limit=2,
        logging_steps=20,
        seed=config.seed,
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=device == "cuda",
        disable_tqdm=True,
        report_to=[],
    )


def split_dataset(config: FinetuneConfig, labels: Sequence[str], split: CachedSplit, *, training: bool) -> CachedPhotos:
    """A split as the trainer reads it; weights average 1. Validation photos are never changed."""
    ids = [labels.index(photo.label) for photo in split.photos]
    weights = np.array([photo.weight for photo in split.photos])
    weights = weights * compute_sample_weight("balanced", ids) ** _CLASS_WEIGHT_POWER[config.class_weights]
    return CachedPhotos(
        split.cache,
        split.entries,
        ids,
        (weights / weights.mean()).tolist(),
        config.input_size,
        config.augmentation if training else None,
        config.seed,
    )


def _metrics(prediction: EvalPrediction) -> dict[str, float]:
    predicted: NDArray[np.int64] = np.argmax(prediction.predictions, axis=1)
    return {
        "accuracy": float(accuracy_score(prediction.label_ids, predicted)),
        "macro_f1": float(f1_score(prediction.label_ids, predicted, average="macro", zero_division=0)),
    }
