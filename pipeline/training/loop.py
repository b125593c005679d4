"""What happens around the training steps: checkpoints, the best model, stopping, and progress."""

import json
import logging
import math
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm
from transformers import TrainerCallback

from pipeline.atomic_files import atomic_write_path
from pipeline.errors import ModelError, StoppedError
from pipeline.training.trainer import EpochOrder, save_weights

log = logging.getLogger(__name__)

_WHOLE = "whole.json"  # written into a checkpoint last: one without it was cut off while being saved
_LOG_SECONDS = 30.0


def last_whole_checkpoint(work: Path) -> Path | None:
    """The newest checkpoint that was saved to its end; others are removed."""
    whole = []
    for folder in work.glob("checkpoint-*"):
        if (folder / _WHOLE).is_file():
            whole.append(folder)
        else:
            shutil.rmtree(folder)
    return max(whole, key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)


def seconds_until(checkpoint: Path) -> float:
    """Wall-clock seconds of training that led to a whole checkpoint."""
    return float(json.loads((checkpoint / _WHOLE).read_text())["seconds"])


class Checkpoints(TrainerCallback):
    """Asks for a checkpoint every `seconds` and at an epoch's end; saves one and stops once `stop()` says so."""

    def __init__(self, work: Path, stop: Callable[[], bool], order: EpochOrder, seconds: float) -> None:
        self.work, self.stop, self.order, self.seconds = work, stop, order, seconds
        self._saved = self._began = time.monotonic()
        self._seconds_before = 0.0
        self.leaving = False

    @property
    def seconds_trained(self) -> float:
        """Wall-clock seconds of training up to now, earlier sittings included."""
        return self._seconds_before + time.monotonic() - self._began

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take over the time that earlier sittings took."""
        last = last_whole_checkpoint(self.work)
        if last is not None:
            self._seconds_before = seconds_until(last)
        self._saved = self._began = time.monotonic()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell the sampler which epoch it is; after a resume the state's epoch is a fraction."""
        self.order.epoch = int(state.epoch or 0)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save when it is time, save and leave when told to stop.

        Never at an epoch's last step: a training that went on from there would skip that epoch's validation.
        """
        if state.global_step % (state.max_steps // int(state.num_train_epochs)) == 0:
            return
        if self.stop():
            self.leaving = control.should_save = control.should_training_stop = True
        elif time.monotonic() - self._saved >= self.seconds:
            control.should_save = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save after the validation; neither on the way out."""
        control.should_save = not self.leaving
        control.should_evaluate = control.should_evaluate and not self.leaving

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Mark the checkpoint as whole."""
        folder = Path(args.output_dir, f"checkpoint-{state.global_step}")
        with atomic_write_path(folder / _WHOLE, folder) as temporary:
            temporary.write_text(json.dumps({"seconds": self.seconds_trained}))
        log.info("step %d of %d is saved", state.global_step, state.max_steps)
        self._saved = time.monotonic()

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A validation takes minutes; the checkpoints before it hold all but the last few steps."""
        if self.stop():
            raise StoppedError("stopped during a validation; run the same command again to go on")


class BestModel(TrainerCallback):
    """Keeps the weights of the best validation and ends the training when `patience` epochs brought no better.

    Judged from the trainer's own history, which its checkpoints hold, so a resumed training judges alike.
    """

    def __init__(self, file: Path, metric: str, patience: int | None) -> None:
        self.file, self.metric, self.patience = file, metric, patience

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save the weights if no validation before was better: of equals, the longest trained.

        Raises:
            ModelError: no validation up to now had a finite loss.
        """
        if max(validation_values(state.log_history, "loss")) == -math.inf:
            raise ModelError("training: the loss is not finite; use a lower --learning-rate, or --precision fp32")
        values = validation_values(state.log_history, self.metric)
        if values[-1] == max(values):
            save_weights(kwargs["model"], self.file)
        if has_stalled(state.log_history, self.metric, self.patience):
            log.info("no better validation for %d epochs: stopping early", self.patience)
            control.should_training_stop = True


def validation_values(history: list[dict[str, Any]], metric: str) -> list[float]:
    """The metric of each validation so far, larger is better (a loss is negated), NaN the worst."""
    sign = -1.0 if metric == "loss" else 1.0
    values = [sign * float(entry[f"eval_{metric}"]) for entry in history if f"eval_{metric}" in entry]
    return [-math.inf if math.isnan(value) else value for value in values]


def has_stalled(history: list[dict[str, Any]], metric: str, patience: int | None) -> bool:
    """Whether the last `patience` validations brought no better one."""
    values = validation_values(history, metric)
    return patience is not None and bool(values) and len(values) - 1 - values.index(max(values)) >= patience


class Progress(TrainerCallback):
    """A bar with time left on a terminal, a log line every half minute elsewhere."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.loss: float | None = None
        self._bar: Any = None
        self._logged = time.monotonic()
        self._logged_step = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock and, on a terminal, the bar."""
        self._logged_step = state.global_step
        self._logged = time.monotonic()
        if sys.stderr.isatty():
            self._bar = tqdm(total=state.max_steps, initial=state.global_step, desc="training", unit="step")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the bar, or log a line when it is time."""
        if self._bar is not None:
            self._bar.update(state.global_step - self._bar.n)
        elif time.monotonic() - self._logged >= _LOG_SECONDS:
            self._log_line(state)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Note the loss and show each validation."""
        self.loss = (logs or {}).get("loss", self.loss)
        if self._bar is not None and self.loss is not None:
            self._bar.set_postfix(loss=f"{self.loss:.3f}")
        if logs and "eval_loss" in logs:
            line = f"epoch {state.epoch:.0f} validation: " + ", ".join(
                f"{name} {logs[f'eval_{name}']:.4f}" for name in ("loss", "accuracy", "macro_f1")
            )
            if self._bar is not None:
                self._bar.write(line, file=sys.stderr)
            else:
                log.info("%s", line)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.close()

    def _log_line(self, state: Any) -> None:
        now = time.monotonic()
        rate = (state.global_step - self._logged_step) / (now - self._logged)  # steps/s since the last line
        self._logged, self._logged_step = now, state.global_step
        loss = "" if self.loss is None else f", loss {self.loss:.4f}"
        left = tqdm.format_interval((state.max_steps - state.global_step) / rate)
        log.info(
            "epoch %.2f of %d, step %d of %d%s, %.1f photos/s, %s left",
            state.epoch, state.num_train_epochs, state.global_step, state.max_steps, loss, rate * self.batch_size, left,
        )  # fmt: skip
