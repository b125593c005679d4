"""Photos larger than their defects, with a box around each defect."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def save_boxed_photos(
    folder: Path, count: int = 9, *, size: tuple[int, int] = (120, 90), labels: tuple[str, str] = ("bar", "dot"), seed=0
) -> Path:
    """Save photos with a black bar and a white dot, every third one without either; return the CSV with their boxes.

    Args:
        folder: made where it is missing.
        count: number of photos.
        size: (width, height) in pixels, of all photos; at least 100 by 60.
        labels: of bars and dots; the others are ok.
        seed: other seeds give other photos, under the same names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    bar, dot = labels
    width, height = size
    rows = ["path,label,x0,y0,x1,y1"]
    for index in range(count):
        name = f"{index:02d}.png"
        photo = Image.fromarray(random.normal(110, 12, (height, width, 3)).clip(0, 255).astype(np.uint8))
        if index % 3 == 2:
            rows.append(f"{name},ok,,,,")
        else:
            draw = ImageDraw.Draw(photo)
            x, y = random.integers(0, (width // 2 - 24, height - 8)).tolist()
            draw.rectangle((x, y, x + 23, y + 7), fill="black")
            rows.append(f"{name},{bar},{x},{y},{x + 24},{y + 8}")
            x, y = random.integers((width // 2, 0), (width - 16, height - 16)).tolist()
            draw.ellipse((x, y, x + 15, y + 15), fill="white")
            rows.append(f"{name},{dot},{x},{y},{x + 16},{y + 16}")
        photo.save(folder / name)
    (folder / "boxes.csv").write_text("\n".join(rows) + "\n")
    return folder / "boxes.csv"
