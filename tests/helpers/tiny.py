"""Tiny random classifiers and generated photos, for tests of everything that is not about accuracy."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil


def save_tiny_vit(folder: Path, *, labels: int = 3, image_size: int = 32, patch_size: int = 8, seed: int = 0) -> Path:
    """A random ViT of three layers with attention that is far from even; saved in Hugging Face's layout."""
    torch.manual_seed(seed)
    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=image_size,
        patch_size=patch_size,
        id2label={index: f"class-{index}" for index in range(labels)},
        label2id={f"class-{index}": index for index in range(labels)},
    )
    network = ViTForImageClassification(config)
    with torch.no_grad():
        for name, weights in network.named_parameters():
            weights.normal_(0, 0.5 if "layernorm" not in name else 1.0)
    network.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": image_size, "width": image_size}).save_pretrained(folder)
    return folder


def save_photos(folder: Path, count: int, *, size: tuple[int, int] = (48, 40), seed: int = 0) -> list[str]:
    """Smooth random photos, each unlike the others; returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    names = [f"photo-{index:04d}.png" for index in range(count)]
    for name in names:
        coarse = random.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(folder / name)
    return names
