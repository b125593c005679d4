"""Photos as training batches: read from the pixel cache, augmented, stacked, normalised."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from sklearn.utils.class_weight import compute_sample_weight
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, Dataset

from pipeline.model.processor import normalisation
from pipeline.training.augment import Augmentation, augment
from pipeline.training.pixel_cache import CachedSplit, PixelSource
from pipeline.training.recipe import Recipe

View = Literal["as it is", "mirrored", "turned"]
VIEWS: dict[View, Callable[[Tensor], Tensor]] = {  # (B, 3, S, S) -> (B, 3, S, S)
    "as it is": lambda pixels: pixels,
    "mirrored": lambda pixels: pixels.flip(-1),
    "turned": lambda pixels: pixels.rot90(1, (2, 3)),
}
_CLASS_WEIGHT_POWERS = {"balanced": 1.0, "sqrt": 0.5, "none": 0.0}  # on the inverse frequency of a class


@dataclass(frozen=True)
class TrainingPhoto:
    """One photo.

    Attributes:
        pixels: (3, S, S) uint8.
        label_id: id of its class.
        weight: factor on its loss.
    """

    pixels: Tensor
    label_id: int
    weight: float


@dataclass(frozen=True)
class PhotoBatch:
    """A batch of photos.

    Attributes:
        pixel_values: (B, 3, S, S) float32, normalised.
        label_ids: (B,) int64.
        weights: (B,) float32.
    """

    pixel_values: Tensor
    label_ids: Tensor
    weights: Tensor

    def to(self, device: str) -> Self:
        """Copy the batch to a device."""
        return type(self)(self.pixel_values.to(device), self.label_ids.to(device), self.weights.to(device))


@dataclass(frozen=True)
class PhotoDataset(Dataset[TrainingPhoto]):
    """The photos of a split. A key is (epoch, index); with the seed it decides the augmentation's random changes.

    Attributes:
        cache: pixels.
        entries: index of each photo in the cache.
        label_ids: id of each photo's class.
        weights: factor on each photo's loss; 1 on average.
        input_size: side of the model's input in pixels.
        augmentation: random changes; None for validation and test.
        seed: seed of the changes.
    """

    cache: PixelSource
    entries: Sequence[int]
    label_ids: Sequence[int]
    weights: Sequence[float]
    input_size: int
    augmentation: Augmentation | None = None
    seed: int = 0

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, key: tuple[int, int]) -> TrainingPhoto:
        epoch, index = key
        pixels = torch.from_numpy(self.cache.read(self.entries[index], epoch))
        if self.augmentation is not None:
            generator = _seeded_generator(self.seed, epoch, index)
            pixels = augment(pixels, self.augmentation, self.input_size, generator)
        return TrainingPhoto(pixels, self.label_ids[index], self.weights[index])


@dataclass(frozen=True)
class TrainingData:
    """The data sets of a training, and their order.

    Attributes:
        datasets: data set of each split.
        labels: class names by id.
        mean: (1, 3, 1, 1), subtracted from pixels in 0..255.
        scale: (1, 3, 1, 1), multiplied after that.
        batch_size: photos in one training step.
        seed: seed of the order.
    """

    datasets: dict[str, PhotoDataset]
    labels: Sequence[str]
    mean: Tensor
    scale: Tensor
    batch_size: int
    seed: int

    def training_batches(self, epoch: int, first_batch: int = 0) -> Iterator[PhotoBatch]:
        """Return the batches of an epoch, in an order drawn from seed and epoch alone.

        Args:
            epoch: number of the epoch, from 0.
            first_batch: number of batches to skip, those trained before an interruption.
        """
        count = len(self.datasets["train"])
        order = torch.randperm(count, generator=_seeded_generator(self.seed, epoch)).tolist()
        keys = [(epoch, index) for index in order[first_batch * self.batch_size :]]
        return self._load_batches("train", keys, self.batch_size)

    def evaluation_batches(self, split: str) -> Iterator[PhotoBatch]:
        """Return the photos of a split in its order, without gradients to hold twice as many in a batch."""
        keys = [(0, index) for index in range(len(self.datasets[split]))]
        return self._load_batches(split, keys, 2 * self.batch_size)

    def still_pixels(self, split: str, indices: Sequence[int], size: int) -> Tensor:
        """Return photos of a split without random changes, (B, 3, size, size) uint8; those of another size are resized.

        Args:
            split: name of the split.
            indices: of its photos, B of them.
            size: side of the model's input in pixels.
        """
        dataset = self.datasets[split]
        cached = [dataset.cache.read(dataset.entries[index]) for index in indices]
        pixels = torch.from_numpy(np.stack(cached))  # (B, 3, S, S)
        if pixels.shape[-1] == size:
            return pixels
        return interpolate(pixels, (size, size), mode="bilinear", antialias=True)

    def still_batches(self, split: str, indices: Sequence[int], size: int, view: View) -> Iterator[PhotoBatch]:
        """Return photos of a split as `still_pixels` does, all seen in the same way."""
        dataset = self.datasets[split]
        for start in range(0, len(indices), self.batch_size):
            chosen = indices[start : start + self.batch_size]
            pixels = VIEWS[view](self.still_pixels(split, chosen, size)).float()
            labels = torch.tensor([dataset.label_ids[index] for index in chosen])
            weights = torch.tensor([dataset.weights[index] for index in chosen], dtype=torch.float32)
            yield PhotoBatch((pixels - self.mean) * self.scale, labels, weights)

    def _load_batches(self, split: str, keys: list[tuple[int, int]], batch_size: int) -> Iterator[PhotoBatch]:
        """Start a loader without worker processes: reading the cache costs next to nothing.

        The loader draws a number from torch's random generator.
        """
        dataset: Any = self.datasets[split]
        loader: Any = DataLoader(dataset, batch_size, sampler=keys, collate_fn=self._collate_photos)
        return iter(loader)

    def _collate_photos(self, photos: Sequence[TrainingPhoto]) -> PhotoBatch:
        """Stack photos and apply the processor's rescale and normalise to the whole batch."""
        pixels = torch.stack([photo.pixels for photo in photos])  # (B, 3, S, S) uint8
        return PhotoBatch(
            (pixels.float() - self.mean) * self.scale,
            torch.tensor([photo.label_id for photo in photos]),
            torch.tensor([photo.weight for photo in photos], dtype=torch.float32),
        )


def build_training_data(
    recipe: Recipe, labels: Sequence[str], splits: dict[str, CachedSplit], processor: Any
) -> TrainingData:
    """Build the data sets of all splits.

    Args:
        recipe: all settings.
        labels: class names by id.
        splits: photos and pixels.
        processor: image processor with the rescale and normalise of the batches.
    """
    datasets = {split: build_dataset(recipe, labels, cached, split == "train") for split, cached in splits.items()}
    mean, scale = normalisation(processor)
    return TrainingData(datasets, labels, mean, scale, recipe.batch_size, recipe.seed)


def build_dataset(recipe: Recipe, labels: Sequence[str], split: CachedSplit, augmented: bool) -> PhotoDataset:
    """Build the data set of one split, its weights scaled to an average of 1."""
    label_ids = [labels.index(photo.label) for photo in split.photos]
    rarity = compute_sample_weight("balanced", label_ids)  # (n,) inverse frequency of each photo's class
    weights = np.array([photo.weight for photo in split.photos]) * rarity ** _CLASS_WEIGHT_POWERS[recipe.class_weights]
    return PhotoDataset(
        split.cache,
        split.entries,
        label_ids,
        (weights / weights.mean()).tolist(),
        recipe.input_size,
        recipe.augmentation if augmented else None,
        recipe.seed,
    )


def _seeded_generator(*numbers: int) -> torch.Generator:
    """Return a generator seeded with several numbers at once."""
    seed = 0
    for number in numbers:
        seed = (seed * 1_000_003 + number + 1) % 2**63
    return torch.Generator().manual_seed(seed)
