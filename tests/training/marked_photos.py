"""A small labelled data set: photos of three classes, easy for a tiny model."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("bar", "dot", "ok")


def save_marked_photos(folder: Path, count: int = 10, seed: int = 0) -> Path:
    """Save `count` photos of each class, in a subfolder per class."""
    random = np.random.default_rng(seed)
    for label in CLASSES:
        (folder / label).mkdir(parents=True)
        for index in range(count):
            grey = random.normal(110, 12, (52, 60, 3)).clip(0, 255).astype(np.uint8)
            photo = Image.fromarray(grey)
            x, y = random.integers(4, 28, 2).tolist()
            if label == "dot":
                ImageDraw.Draw(photo).ellipse((x, y, x + 20, y + 20), fill="white")
            if label == "bar":
                ImageDraw.Draw(photo).rectangle((x, y, x + 28, y + 8), fill="black")
            photo.save(folder / label / f"{index:02d}.png")
    return folder
