"""The settings of a command -> a model: checked at once, loaded when there is work to do."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.model.check_checkpoint import check_checkpoint
from pipeline.model.checkpoint import Checkpoint, resolve_checkpoint
from pipeline.model.device import Precision, choose_device, choose_precision
from pipeline.settings import ModelSettings

if TYPE_CHECKING:  # transformers takes seconds to import
    from pipeline.model.classifier import Classifier


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


def open_model(settings: ModelSettings) -> OpenedModel:
    """Find the checkpoint, and choose the device and the precision.

    Raises:
        ConfigError: the device or the precision is not to be had on this machine.
        ModelError: the checkpoint can't be reached, or its family has no rollout.
    """
    checkpoint = resolve_checkpoint(settings.model)
    check_checkpoint(checkpoint)
    checkpoint.read_head()  # refuses outputs that are no classes, before anything is loaded
    device = choose_device(settings.device)
    return OpenedModel(checkpoint, device, choose_precision(settings.precision, device), settings.input_size)
