"""What people use instead, each as its documentation or its author has it: photos in, pictures or labels out."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from PIL import Image


def best_precision() -> Any:
    """What `--precision auto` takes on this processor."""
    from pipeline.model.device import choose_precision

    return choose_precision("auto", "cpu")


def load_network(checkpoint: Path, attention: str, precision: str) -> Any:
    """Transformers' own model of a checkpoint, with one of its attention implementations."""
    import torch
    from transformers import AutoModelForImageClassification

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return AutoModelForImageClassification.from_pretrained(
        checkpoint, dtype=dtype, attn_implementation=attention
    ).eval()


def article_loop(folder: Path, checkpoint: Path, photos: Path) -> Callable[[], None]:
    """As published: one image at a time, eager, every attention kept, full products, a PNG of the photo's size."""
    import torch
    from transformers import AutoImageProcessor

    network = load_network(checkpoint, "eager", "fp32")
    processor = AutoImageProcessor.from_pretrained(checkpoint, backend="pil")
    out = folder / "article"
    out.mkdir(exist_ok=True)

    @torch.inference_mode()
    def loop() -> None:
        for number, image in enumerate(opened(photos)):
            inputs = processor(images=image, return_tensors="pt")
            attentions = network(**inputs, output_attentions=True).attentions
            _rollout_picture(attentions, image).save(out / f"{number}.png")

    return loop


def eager_batches(folder: Path, checkpoint: Path, photos: Path) -> Callable[[], None]:
    """The same in batches of eight and the best precision, as a careful person would write it."""
    import torch
    from transformers import AutoImageProcessor

    network = load_network(checkpoint, "eager", best_precision())
    processor = AutoImageProcessor.from_pretrained(checkpoint, backend="pil")
    out = folder / "eager"
    out.mkdir(exist_ok=True)

    @torch.inference_mode()
    def loop() -> None:
        images = list(opened(photos))
        for start in range(0, len(images), 8):
            batch = images[start : start + 8]
            inputs = processor(images=batch, return_tensors="pt").to(network.dtype)
            attentions = network(**inputs, output_attentions=True).attentions
            for place, image in enumerate(batch):
                one = [layer[place : place + 1] for layer in attentions]
                _rollout_picture(one, image).save(out / f"{start + place}.png")

    return loop


def transformers_pipeline(checkpoint: Path, photos: Path) -> Callable[[], object]:
    """`transformers.pipeline`, labels only, at the batch size that is fastest here."""
    from transformers import AutoImageProcessor, pipeline

    files = [str(file) for file in sorted(photos.iterdir())]
    network = load_network(checkpoint, "sdpa", best_precision())
    processor = AutoImageProcessor.from_pretrained(checkpoint, backend="pil")
    classify = pipeline("image-classification", model=network, image_processor=processor)
    seconds = {}
    for size in (1, 4, 8):
        started = time.perf_counter()
        classify(files[:8], batch_size=size)
        seconds[size] = time.perf_counter() - started
    best = min(seconds, key=lambda size: seconds[size])
    return lambda: classify(files, batch_size=best)


def opened(photos: Path) -> Iterable[Image.Image]:
    """A folder's photos in RGB, by name."""
    for file in sorted(photos.iterdir()):
        with Image.open(file) as image:
            yield image.convert("RGB")


def _rollout_picture(attentions: Any, image: Image.Image) -> Image.Image:
    """The article's: product of all layers' matrices, mean of two columns, a white veil over the whole photo."""
    import torch

    tokens = attentions[0].shape[-1]
    product = torch.eye(tokens)
    for layer in attentions:
        residual = layer[0].float().mean(dim=0) + torch.eye(tokens)
        product = product @ (residual / residual.sum(dim=-1, keepdim=True))
    values = 1 - product[1:, :2].mean(dim=1)
    side = round((tokens - 1) ** 0.5)
    heat = values.reshape(side, side)
    heat = (heat - heat.min()) / (heat.max() - heat.min())
    mask = Image.fromarray((heat * 255).byte().numpy()).resize(image.size, Image.Resampling.BICUBIC)
    return Image.composite(Image.new("RGB", image.size, "white"), image, mask)
