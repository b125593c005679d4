"""transformers' Trainer with what fine-tuning on photos adds.

Weighted loss, layer-wise learning rates, and a batch order that depends on seed and epoch alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import Trainer

from pipeline.atomic_files import atomic_write_path, cannot_write
from pipeline.training.augment import Augmentation, augment
from pipeline.training.layer_rates import parameter_groups
from pipeline.training.pixel_cache import PixelCache

_WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class TrainingPhoto:
    """One photo for the trainer: pixels (3, S, S) uint8, its label's id, its weight in the loss."""

    pixels: torch.Tensor
    label: int
    weight: float


class CachedPhotos(Dataset[TrainingPhoto]):
    """Photos from the pixel cache; asked by (epoch, index), which alone decides what augmentation draws."""

    def __init__(
        self,
        cache: PixelCache,
        entries: Sequence[int],
        labels: Sequence[int],
        weights: Sequence[float],
        input_size: int,
        changes: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        self.cache, self.entries, self.labels, self.weights = cache, entries, labels, weights
        self.input_size, self.changes, self.seed = input_size, changes, seed

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, key: tuple[int, int] | int) -> TrainingPhoto:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        pixels = torch.from_numpy(self.cache.read(self.entries[index]))
        if self.changes is not None:
            generator = _generator(self.seed, epoch, index)
            pixels = augment(pixels, self.changes, self.input_size, generator)
        return TrainingPhoto(pixels, self.labels[index], self.weights[index])


class EpochOrder(Sampler[tuple[int, int]]):
    """(epoch, index) in an order drawn from seed and epoch, so a resumed epoch goes on with the same one."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed, self.epoch = count, seed, 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = _generator(self.seed, self.epoch)
        for index in torch.randperm(self.count, generator=generator).tolist():
            yield self.epoch, index


@dataclass(frozen=True)
class Normalise:
    """Stacks samples and does the processor's rescale and normalise on the whole batch."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __call__(self, samples: Sequence[TrainingPhoto]) -> dict[str, torch.Tensor]:
        """Samples -> what the trainer feeds: pixel_values (B, 3, S, S) float32, labels (B,), weights (B,)."""
        pixels = torch.stack([sample.pixels for sample in samples])  # (B, 3, S, S)
        return {
            "pixel_values": (pixels.float() - self.mean) * self.scale,
            "labels": torch.tensor([sample.label for sample in samples]),
            "weights": torch.tensor([sample.weight for sample in samples]),
        }


class PhotoTrainer(Trainer):
    """Trainer with weights per sample and learning rates per block."""

    def __init__(self, *, order: EpochOrder, layer_decay: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.order, self.layer_decay = order, layer_decay

    @property
    def network(self) -> Any:
        """The model that is trained."""
        return self.model

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches in the order of `EpochOrder`, made in this process: reading the cache costs next to nothing."""
        dataset: Any = self.train_dataset
        return DataLoader(dataset, self.args.train_batch_size, sampler=self.order, collate_fn=self.data_collator)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW over `parameter_groups`."""
        if self.optimizer is None:
            groups = parameter_groups(self.model, self.args.learning_rate, self.layer_decay, self.args.weight_decay)
            self.optimizer = torch.optim.AdamW(groups, lr=self.args.learning_rate, betas=(0.9, 0.999))
        return self.optimizer

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        # Trainer saves a checkpoint under the names of the hub's files and loads it by the names of the modules,
        # so what was renamed between the two would come back untrained. Here both are the modules' names.
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(self.model, folder / _WEIGHTS)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        try:
            super()._save_checkpoint(model, trial)
        except RuntimeError as error:  # what a full disk raises in torch.save
            raise cannot_write(Path(str(self.args.output_dir)), OSError(None, str(error))) from error

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self.network.load_state_dict(load_file(Path(resume_from_checkpoint, _WEIGHTS)))

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Cross entropy times sample weight, mean over the batch; weights average 1 over the training split."""
        logits = model(pixel_values=inputs["pixel_values"]).logits.float()  # (B, classes)
        smoothing = self.args.label_smoothing_factor if model.training else 0.0
        losses = cross_entropy(logits, inputs["labels"], reduction="none", label_smoothing=smoothing)  # (B,)
        loss = (losses * inputs["weights"]).mean()
        return (loss, {"loss": loss, "logits": logits}) if return_outputs else loss


def save_weights(model: Any, file: Path) -> None:
    """Write the weights under the names of the model's modules, by rename: the file is whole or not there."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic_write_path(file, file.parent) as temporary:
        try:
            save_file(weights, temporary)
        except SafetensorError as error:  # what a full disk raises here
            raise OSError(None, str(error)) from error


def _generator(*numbers: int) -> torch.Generator:
    mixed = 0
    for number in numbers:
        mixed = (mixed * 1_000_003 + number + 1) % 2**63
    return torch.Generator().manual_seed(mixed)
