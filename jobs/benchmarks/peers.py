"""Other people's ways to do the same, each as in its documentation: photos in, pictures or labels out."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image

from jobs.benchmarks.materials import load_network
from pipeline.model.device import Precision, choose_precision

_BATCH = 8


def best_precision() -> Precision:
    """Return the precision of `--precision auto` on this processor."""
    return choose_precision("auto", "cpu")


def article_loop(folder: Path, checkpoint: Path, photos: Path) -> Callable[[], None]:
    """Build the published loop: one image at a time, eager, all attention kept, full products, full-size PNGs."""
    network = load_network(checkpoint, "eager", "fp32")
    processor = transformers.AutoImageProcessor.from_pretrained(checkpoint, backend="pil")
    out = folder / "article"
    out.mkdir(exist_ok=True)

    @torch.inference_mode()
    def loop() -> None:
        for number, image in enumerate(read_photos(photos)):
            inputs = processor(images=image, return_tensors="pt")
            attentions = network(**inputs, output_attentions=True).attentions
            _draw_rollout(attentions, image).save(out / f"{number}.png")

    return loop


def eager_batches_loop(folder: Path, checkpoint: Path, photos: Path) -> Callable[[], None]:
    """Build the same loop with batches of eight and the best precision, as a careful person would write it."""
    network = load_network(checkpoint, "eager", best_precision())
    processor = transformers.AutoImageProcessor.from_pretrained(checkpoint, backend="pil")
    out = folder / "eager"
    out.mkdir(exist_ok=True)

    @torch.inference_mode()
    def loop() -> None:
        images = list(read_photos(photos))
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH]
            inputs = processor(images=batch, return_tensors="pt").to(network.dtype)
            attentions = network(**inputs, output_attentions=True).attentions  # L of (B, heads, N, N)
            for index, image in enumerate(batch):
                attentions_of_image = [layer[index : index + 1] for layer in attentions]
                _draw_rollout(attentions_of_image, image).save(out / f"{start + index}.png")

    return loop


def transformers_pipeline_loop(checkpoint: Path, photos: Path) -> Callable[[], object]:
    """Build the loop of `transformers.pipeline`, labels only, at its fastest batch size on this machine."""
    files = [str(file) for file in sorted(photos.iterdir())]
    network = load_network(checkpoint, "sdpa", best_precision())
    processor = transformers.AutoImageProcessor.from_pretrained(checkpoint, backend="pil")
    classify = transformers.pipeline("image-classification", model=network, image_processor=processor)
    seconds = {}
    for size in (1, 4, 8):
        started = time.perf_counter()
        classify(files[:8], batch_size=size)
        seconds[size] = time.perf_counter() - started
    fastest = min(seconds, key=lambda size: seconds[size])
    return lambda: classify(files, batch_size=fastest)


def read_photos(photos: Path) -> Iterable[Image.Image]:
    """Yield a folder's photos in RGB, by name."""
    for file in sorted(photos.iterdir()):
        with Image.open(file) as image:
            yield image.convert("RGB")


def _draw_rollout(attentions: Any, image: Image.Image) -> Image.Image:
    """Draw the article's picture: product of all layers, mean of two columns, a white veil over the whole photo.

    Args:
        attentions: of each layer, (1, heads, N, N).
        image: the photo.
    """
    tokens = attentions[0].shape[-1]
    product = torch.eye(tokens)  # (N, N)
    for layer in attentions:
        residual = layer[0].float().mean(dim=0) + torch.eye(tokens)
        product = product @ (residual / residual.sum(dim=-1, keepdim=True))
    values = 1 - product[1:, :2].mean(dim=1)  # (N - 1,)
    side = round((tokens - 1) ** 0.5)
    heat = values.reshape(side, side)
    heat = (heat - heat.min()) / (heat.max() - heat.min())
    mask = Image.fromarray((heat * 255).byte().numpy()).resize(image.size, Image.Resampling.BICUBIC)
    return Image.composite(Image.new("RGB", image.size, "white"), image, mask)
