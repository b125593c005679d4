"""The settings of a command -> a model: checked at once, loaded when there is work to do."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.decision import DECISION_FILE, Decision, check_decision, read_decision
from pipeline.errors import ConfigError
from pipeline.model.check_checkpoint import check_checkpoint
from pipeline.model.checkpoint import Checkpoint, resolve_checkpoint
from pipeline.model.device import Precision, choose_device, choose_precision
from pipeline.model.familiarity import Familiarity
from pipeline.model.familiarity_file import FAMILIARITY_FILE, read_familiarity
from pipeline.model.verdict import VERDICT_FILE, Verdict, check_verdict, read_verdict
from pipeline.settings import ModelSettings

if TYPE_CHECKING:  # transformers takes seconds to import
    from pipeline.model.classifier import Classifier

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenedModel:
    """A checkpoint of a supported family, with its device and precision; its weights are not loaded yet.

    Attributes:
        checkpoint: its files.
        device: a device as torch names it.
        precision: precision of the forward pass.
        input_size: (H, W) in pixels, or None for the checkpoint's own.
    """

    checkpoint: Checkpoint
    device: str
    precision: Precision
    input_size: tuple[int, int] | None

    @property
    def description(self) -> str:
        """The model in one line, for the log: its name, purpose, precision and device."""
        return f"model {self.checkpoint.name}: {self.checkpoint.purpose}; {self.precision} on {self.device}"

    def read_decision(self) -> Decision | None:
        """Read the decision saved with the model, or None; warn of scores of another input size or precision.

        Raises:
            ModelError: its file is damaged or was chosen for another model, or the model's files can't be read.
        """
        decision, folder = self.find_decision(), self.checkpoint.folder
        if decision is None:
            return None
        origin = decision.chosen_on
        chosen, now = (origin.input_size, origin.precision), (self.input_size, self.precision)
        if chosen != now:
            log.warning(
                "%s was chosen with %s: with %s scores differ, and its thresholds may not fit",
                folder / DECISION_FILE,
                _format_options(*chosen),
                _format_options(*now),
            )
        return decision

    def find_decision(self) -> Decision | None:
        """Read the decision saved with the model where only its classes and windows matter; else as `read_decision`."""
        folder = self.checkpoint.folder
        decision = read_decision(folder)
        if decision is not None:
            check_decision(decision, folder, self.checkpoint.labels, self.checkpoint.digest())
        return decision

    def read_familiarity(self) -> Familiarity | None:
        """Read the statistics of the training photos saved with the model, or None; warn of another input size.

        Raises:
            ModelError: their file is damaged or belongs to another model, or the model's files can't be read.
        """
        folder = self.checkpoint.folder
        if not (folder / FAMILIARITY_FILE).is_file():
            return None
        familiarity = read_familiarity(folder, self.checkpoint.digest())
        consequence = "features differ, and more photos may seem unlike the training photos"
        self._warn_of_other_size(folder / FAMILIARITY_FILE, "made", familiarity.fitted_on.input_size, consequence)
        return familiarity

    def read_verdict(self) -> Verdict | None:
        """Read the verdict on the model's maps, or None; warn of one measured with another input size.

        Raises:
            ModelError: its file is damaged or was measured with another model, or the model's files can't be read.
        """
        folder = self.checkpoint.folder
        verdict = read_verdict(folder)
        if verdict is None:
            return None
        check_verdict(verdict, folder, self.checkpoint.digest())
        consequence = "maps differ, and its method may not hold"
        self._warn_of_other_size(folder / VERDICT_FILE, "measured", verdict.measured_on.input_size, consequence)
        return verdict

    def _warn_of_other_size(self, file: Path, how: str, size: tuple[int, int] | None, consequence: str) -> None:
        """Warn of a file beside the weights if it comes from another input size than this run's."""
        if size != self.input_size:
            sizes = _format_size(size), _format_size(self.input_size)
            log.warning("%s was %s with --input-size %s: with --input-size %s %s", file, how, *sizes, consequence)

    def load(self, *, rescale: bool = True) -> "Classifier":
        """Load the weights; arguments and errors as of `load_classifier`."""
        from pipeline.model.load import load_classifier

        return load_classifier(
            self.checkpoint,
            device=self.device,
            precision=self.precision,
            input_size=self.input_size,
            rescale=rescale,
        )


def open_model(settings: ModelSettings, *, computes_here: bool = True) -> OpenedModel:
    """Find the checkpoint, and choose the device and the precision.

    Args:
        settings: of the model.
        computes_here: False: the device is on another machine, so it is not looked for on this one.

    Raises:
        ConfigError: the device or the precision is not to be had on this machine.
        ModelError: the checkpoint can't be reached, or its family has no rollout.
    """
    checkpoint = resolve_checkpoint(settings.model)
    check_checkpoint(checkpoint)
    checkpoint.read_head()  # refuses outputs that are no classes, before anything is loaded
    if not computes_here and settings.precision != "auto":
        return OpenedModel(checkpoint, settings.device, settings.precision, settings.input_size)
    try:
        device = choose_device(settings.device)
    except ConfigError as error:
        if computes_here:
            raise
        raise ConfigError(f"precision = auto: {error}; or give the precision, such as --precision bf16") from None
    return OpenedModel(checkpoint, device, choose_precision(settings.precision, device), settings.input_size)


def _format_options(size: tuple[int, int] | None, precision: str) -> str:
    return f"--input-size {_format_size(size)} --precision {precision}"


def _format_size(size: tuple[int, int] | None) -> str:
    return "none" if size is None else f"{size[0]}x{size[1]}"
