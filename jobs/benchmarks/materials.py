"""Photos and models to measure with: photos of real textures, models of real shapes with random weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

TEXTURES = Path(__file__).parents[2] / "sample_images"


@dataclass(frozen=True)
class Shape:
    """The shape of a published model.

    Attributes:
        name: its usual name.
        family: config class of transformers.
        size: side of the model's input, pixels.
        patch: side of a patch, pixels.
        hidden, layers, heads: of the encoder.
    """

    name: str
    family: str
    size: int
    patch: int
    hidden: int
    layers: int
    heads: int


VIT_B_16 = Shape("ViT-B/16-224", "ViT", 224, 16, 768, 12, 12)
VIT_L_32 = Shape("ViT-L/32-384", "ViT", 384, 32, 1024, 24, 16)
VIT_S_14 = Shape("ViT-S/14-518", "Dinov2", 518, 14, 384, 12, 6)
TINY = Shape("tiny-ViT", "ViT", 32, 8, 32, 2, 2)


def save_checkpoint(shape: Shape, folder: Path) -> Path:
    """Save a classifier of 1,000 classes with random weights, in Hugging Face's layout.

    Returns:
        The checkpoint, in `folder` under the shape's name; an existing one is kept.
    """
    checkpoint = folder / shape.name.replace("/", "-")
    if (checkpoint / "config.json").exists():
        return checkpoint
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "image_size": shape.size,
        "patch_size": shape.patch,
        "num_labels": 1000,
    }
    if shape.family == "ViT":
        settings["intermediate_size"] = 4 * shape.hidden
    config = getattr(transformers, f"{shape.family}Config")(**settings)
    network = getattr(transformers, f"{shape.family}ForImageClassification")(config)
    network.save_pretrained(checkpoint)
    ViTImageProcessorPil(size={"height": shape.size, "width": shape.size}).save_pretrained(checkpoint)
    return checkpoint


def load_network(checkpoint: Path, attention: str, precision: str) -> Any:
    """Load transformers' own model of a checkpoint.

    Args:
        checkpoint: folder in Hugging Face's layout.
        attention: an attention implementation of transformers.
        precision: fp32, bf16 or fp16.
    """
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    network: Any = transformers.AutoModelForImageClassification.from_pretrained(
        checkpoint, dtype=dtype, attn_implementation=attention, local_files_only=True
    )
    return network.eval()


def save_photos(folder: Path, count: int, size: tuple[int, int], suffix: str) -> Path:
    """Compose photos of the sample images' textures under uneven light, with a camera's noise.

    Args:
        folder: folder for the photos.
        count: number of photos, no two alike.
        size: width and height, pixels.
        suffix: `.jpg` or `.png`.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    textures = [Image.open(file).convert("L").resize((448, 448)) for file in sorted(TEXTURES.glob("*.png"))]
    for number in range(count):
        mosaic = Image.new("L", (4 * 448, 3 * 448))
        for cell in range(12):
            texture = textures[random.integers(len(textures))]
            mosaic.paste(texture.rotate(90 * int(random.integers(4))), (cell % 4 * 448, cell // 4 * 448))
        light = random.uniform(0.3, 1, (2, 2, 3)).astype(np.float32)
        lit = [Image.fromarray(light[..., band]).resize(size, Image.Resampling.BICUBIC) for band in range(3)]
        grey = np.asarray(mosaic.resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
        noise = random.normal(0, 4, (size[1], size[0])).astype(np.float32)
        bands = [np.clip(grey * np.asarray(band) * 0.8 + 20 + noise, 0, 255).astype(np.uint8) for band in lit]
        Image.fromarray(np.stack(bands, axis=2)).save(folder / f"photo-{number:05}{suffix}", quality=90)
    return folder


def save_linked_photos(folder: Path, count: int) -> Path:
    """Save one photo of 300 x 300 pixels under many names, as hard links; return the folder."""
    return link_photo(folder, count, (300, 300))


def link_photo(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """Save one photo under many names, as hard links, a large one as JPEG; return the folder."""
    suffix = ".png" if max(size) < 1000 else ".jpg"
    save_photos(folder, 1, size, suffix)
    photo = folder / f"photo-00000{suffix}"
    for number in range(1, count):
        link = folder / f"photo-{number:05}{suffix}"
        if not link.exists():
            link.hardlink_to(photo)
    return folder
