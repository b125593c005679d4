"""The training loop.

    one step:   batch -> loss -> gradients -> clip -> optimizer -> learning rate
    one epoch:  its steps -> validation of the averaged weights -> best weights -> checkpoint

A stopped or killed training resumes from its newest checkpoint and ends with the same weights as an uninterrupted
one: seed and epoch alone decide the order and the augmentation of photos, and everything else is in the checkpoint.
"""

import logging
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import get_cosine_schedule_with_warmup

from pipeline.errors import ModelError, StoppedError
from pipeline.freed_memory import keep_freed_memory
from pipeline.progress import Progress
from pipeline.training.checkpoints import load_newest_checkpoint, save_checkpoint, save_weights
from pipeline.training.data import PhotoBatch, TrainingData
from pipeline.training.device import TrainingDevice
from pipeline.training.layer_rates import parameter_groups
from pipeline.training.recipe import Recipe
from pipeline.training.validation import (
    Metrics,
    compute_logits,
    format_f1,
    has_stalled,
    is_best,
    measure_batches,
    weighted_losses,
)

log = logging.getLogger(__name__)

_MAX_GRADIENT_NORM = 1.0
_SHOWN_CLASSES = 10  # in the log
_SHOWN_LOSS_STEPS = 20  # the loss shown is the mean over this many steps


class TrainingLoop:
    """One training, from its start or its newest checkpoint to its end.

    Attributes:
        device: device and precision of the training.
        step: number of steps trained.
        seconds: wall-clock seconds of training up to the last checkpoint, all sessions.
        start: metrics of the validation before the first step, if the starting point is a candidate; else None.
        history: metrics of the validation after each epoch.
    """

    def __init__(self, recipe: Recipe, model: Any, data: TrainingData, work: Path, stop: Callable[[], bool]) -> None:
        """Set up optimizer and schedule, then load the newest checkpoint.

        Args:
            recipe: all settings.
            model: classifier to train, in place; frozen parameters stay as they are.
            data: at least the splits train and validation.
            work: folder for the checkpoints and best.safetensors, the weights of the best validation.
            stop: asked after each step; once it returns true, the training saves a checkpoint and ends.
        """
        torch.manual_seed(recipe.seed)  # dropout and stochastic depth draw from it
        self._recipe, self._data, self._work, self._stop = recipe, data, work, stop
        self._steps_per_epoch = math.ceil(len(data.datasets["train"]) / recipe.batch_size)
        self._all_steps = recipe.epochs * self._steps_per_epoch
        self.device = TrainingDevice.choose(recipe.precision)
        self._model = model.to(self.device.name)
        self._average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.averaging))  # type: ignore[no-untyped-call]
        groups = parameter_groups(
            model,
            learning_rate=recipe.learning_rate,
            layer_decay=recipe.layer_decay,
            weight_decay=recipe.weight_decay,
        )
        self._optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8)
        warmup_steps = math.ceil(recipe.warmup_share * self._all_steps)
        self._schedule = get_cosine_schedule_with_warmup(self._optimizer, warmup_steps, self._all_steps)
        # keeps small gradients from vanishing in fp16; does nothing in other precisions
        self._scaler = torch.amp.GradScaler(self.device.name, enabled=self.device.precision == "fp16")
        self.step, self.seconds = 0, 0.0
        self.start: Metrics | None = None
        self.history: list[Metrics] = []
        self._recent_losses: deque[Tensor] = deque(maxlen=_SHOWN_LOSS_STEPS)
        self._shown_loss = "-"
        self._load_checkpoint()
        self._saved_at = time.monotonic()

    def run(self) -> None:
        """Train to the end. A finished or stalled training returns at once.

        Raises:
            ModelError: no validation so far had a finite loss.
            StoppedError: `stop()` returned true; the message says what is saved.
            StoreError: a checkpoint can't be written.
        """
        if self._recipe.judges_start and self.start is None:
            self._validate_start()
        if self.step == self._all_steps or self._has_stalled():
            return
        if self.step:
            log.info("going on from step %d of %d", self.step, self._all_steps)
        keep_freed_memory()
        photos, photos_trained = (self._count_photos(step) for step in (self._all_steps, self.step))
        with Progress(photos, title="training", initial=photos_trained) as progress:
            for epoch in range(self.step // self._steps_per_epoch, self._recipe.epochs):
                self._train_epoch(epoch, progress)
                self._validate_model(epoch, progress)
                self._save_checkpoint()
                if self._has_stalled():
                    patience = self._recipe.patience
                    log.info("no better validation for %d epoch%s: stopping early", patience, "s" * (patience != 1))
                    return

    def _train_epoch(self, epoch: int, progress: Progress) -> None:
        """Train the remaining steps of an epoch, with a checkpoint every `checkpoint_seconds`.

        The last step gets none: a training resumed from there would skip the epoch's validation.
        """
        steps_done = self.step % self._steps_per_epoch
        random_states = self.device.random_states()
        batches = self._data.training_batches(epoch, steps_done)  # draws a number from torch's generator
        if steps_done:  # the interrupted session drew that number before its checkpoint
            self.device.restore_random_states(random_states)
        self._model.train()
        for batch in batches:
            loss = self._train_step(batch.to(self.device.name))
            self.step += 1
            self._show_progress(progress, len(batch.label_ids), loss)
            if self.step % self._steps_per_epoch == 0:
                return
            if self._stop():
                self._save_checkpoint()
                raise StoppedError(
                    f"stopped at step {self.step} of {self._all_steps}, which is saved; run the same command to go on"
                )
            if time.monotonic() - self._saved_at >= self._recipe.checkpoint_seconds:
                self._save_checkpoint()

    def _train_step(self, batch: PhotoBatch) -> Tensor:
        """Update the weights once; return the batch's mean loss, a scalar on the device."""
        logits = compute_logits(self._model, batch, self.device)  # (B, classes)
        loss = weighted_losses(logits, batch, self._recipe.label_smoothing).mean()
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.unscale_(self._optimizer)
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), _MAX_GRADIENT_NORM)
        scale = self._scaler.get_scale()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._scaler.get_scale() >= scale:  # a smaller one: fp16 gradients overflowed, and the step was skipped
            self._schedule.step()
        self._optimizer.zero_grad()
        if self._recipe.averaging:
            self._average.update_parameters(self._model)
        return loss.detach()

    def _validate_start(self) -> None:
        """Measure the starting point, which the training has to beat, and save it."""
        self.start = replace(self._measure_validation(self._model), errors={})  # to be beaten outright
        log.info("the starting point on validation: %s", self._describe(self.start))
        save_weights(self._model, self._work / "best.safetensors")
        self._save_checkpoint()

    def _validate_model(self, epoch: int, progress: Progress) -> None:
        """Measure the model on the validation split, and save its weights if they are the best so far."""
        model = self._average.module if self._recipe.averaging else self._model
        metrics = self._measure_validation(model)
        self.history.append(metrics)
        progress.write(f"epoch {epoch + 1} validation: {self._describe(metrics)}")
        if not any(math.isfinite(earlier.loss) for earlier in self.history):
            raise ModelError("training: the loss is not finite; use a lower --learning-rate, or --precision fp32")
        if is_best(self.judged, self._recipe.best_by):
            save_weights(model, self._work / "best.safetensors")

    def _measure_validation(self, model: Any) -> Metrics:
        batches = self._data.evaluation_batches("validation")
        return measure_batches(model, self._data.labels, batches, self.device, self._stop)

    def _describe(self, metrics: Metrics) -> str:
        return (
            f"loss {metrics.loss:.4f}, accuracy {metrics.accuracy:.4f}, macro_f1 {metrics.macro_f1:.4f}; "
            f"{format_f1(metrics, self._data.labels, _SHOWN_CLASSES)}"
        )

    @property
    def judged(self) -> list[Metrics]:
        """The validations to choose from, the starting point first if it is a candidate."""
        return [*([self.start] if self.start else []), *self.history]

    def _has_stalled(self) -> bool:
        return has_stalled(self.history, self._recipe.best_by, self._recipe.patience)

    def _save_checkpoint(self) -> None:
        """Save everything needed to resume after this step."""
        now = time.monotonic()
        self.seconds += now - self._saved_at
        self._saved_at = now
        contents = {
            "step": self.step,
            "seconds": self.seconds,
            "start": asdict(self.start) if self.start else None,
            "history": [asdict(metrics) for metrics in self.history],
            "model": self._model.state_dict(),
            "average": self._average.state_dict() if self._recipe.averaging else {},
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "scaler": self._scaler.state_dict(),
            "random_states": self.device.random_states(),
        }
        save_checkpoint(self._work, self.step, contents)
        log.info("step %d of %d is saved", self.step, self._all_steps)

    def _load_checkpoint(self) -> None:
        """Resume from the newest checkpoint, if there is one."""
        contents = load_newest_checkpoint(self._work)
        if contents is None:
            return
        self.step, self.seconds = contents["step"], contents["seconds"]
        self.start = Metrics(**contents["start"]) if contents["start"] else None
        self.history = [Metrics(**metrics) for metrics in contents["history"]]
        self._model.load_state_dict(contents["model"])
        if contents["average"]:
            self._average.load_state_dict(contents["average"])
        self._optimizer.load_state_dict(contents["optimizer"])
        self._schedule.load_state_dict(contents["schedule"])
        if contents["scaler"]:  # empty unless saved in fp16
            self._scaler.load_state_dict(contents["scaler"])
        self.device.restore_random_states(contents["random_states"])

    def _show_progress(self, progress: Progress, photos: int, loss: Tensor) -> None:
        self._recent_losses.append(loss)
        if self.step % _SHOWN_LOSS_STEPS == 0:  # seldom, since reading the value waits for the device
            self._shown_loss = f"{torch.stack(tuple(self._recent_losses)).mean().item():.4f}"
        epoch = f"{self.step / self._steps_per_epoch:.2f} of {self._recipe.epochs}"
        progress.advance(photos, epoch=epoch, step=f"{self.step} of {self._all_steps}", loss=self._shown_loss)

    def _count_photos(self, steps: int) -> int:
        """Count the photos of the first steps; an epoch's last batch may be smaller."""
        epochs, remaining_steps = divmod(steps, self._steps_per_epoch)
        return epochs * len(self._data.datasets["train"]) + remaining_steps * self._recipe.batch_size
