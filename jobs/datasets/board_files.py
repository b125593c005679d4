"""The boards of a clone of tangsanli5201/DeepPCB: scans, templates, annotated defects, official splits."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from jobs.datasets.windows import Box
from pipeline.errors import DataError

LABELS = ("ok", "open", "short", "mousebite", "spur", "copper", "pinhole")  # DeepPCB numbers the defects from 1
SPLITS = ("train", "validation", "test")
VALIDATION_SHARE = 0.08  # of the training boards
GIVE_A_CLONE = "give the folder of a clone of tangsanli5201/DeepPCB"


@dataclass(frozen=True)
class Board:
    """One pair of scans of DeepPCB.

    Attributes:
        name: the pair's number, e.g. "20085000".
        tested: scan of the board with defects.
        template: scan of the same part of a board without defects.
        defects: label and box in pixels of the scan.
    """

    name: str
    tested: Path
    template: Path
    defects: tuple[tuple[str, Box], ...]


def read_boards(checkout: Path, listing: str) -> list[Board]:
    """Read the boards listed in `PCBData/<listing>.txt`, in its order.

    Raises:
        DataError: the listing or an annotation is missing, or has an invalid line.
    """
    root = checkout / "PCBData"
    boards = []
    for line in _read_lines(root / f"{listing}.txt"):
        image, _, annotation = line.partition(" ")
        stem = root / image.removesuffix(".jpg")  # the listing's X.jpg stands for X_test.jpg and X_temp.jpg
        defects = tuple(_parse_defect(text, root / annotation) for text in _read_lines(root / annotation))
        tested, template = (stem.with_name(f"{stem.name}_{kind}.jpg") for kind in ("test", "temp"))
        boards.append(Board(stem.name, tested, template, defects))
    return boards


def split_boards(checkout: Path, seed: int) -> dict[str, list[Board]]:
    """Split the boards as DeepPCB does into train and test; validation is drawn from the training boards by `seed`."""
    training, test = read_boards(checkout, "trainval"), read_boards(checkout, "test")
    order = np.random.default_rng(seed).permutation(len(training))
    held_out = set(order[: max(1, round(VALIDATION_SHARE * len(training)))].tolist())
    return {
        "train": [board for index, board in enumerate(training) if index not in held_out],
        "validation": [board for index, board in enumerate(training) if index in held_out],
        "test": test,
    }


def read_scan(file: Path) -> Image.Image:
    """Read a scan as grey pixels.

    Raises:
        DataError: it can't be read.
    """
    try:
        with Image.open(file) as image:
            return image.convert("L")
    except OSError as error:
        raise DataError(f"{file}: the scan can't be read ({error.strerror or error}); {GIVE_A_CLONE}") from error


def _read_lines(file: Path) -> list[str]:
    try:
        return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}; {GIVE_A_CLONE}") from error


def _parse_defect(line: str, file: Path) -> tuple[str, Box]:
    try:
        x0, y0, x1, y1, kind = (int(part) for part in line.split())
        return dict(enumerate(LABELS[1:], start=1))[kind], Box(x0, y0, x1, y1)
    except (ValueError, KeyError) as error:
        raise DataError(f"{file}: {line!r} is not 'x0 y0 x1 y1 type', type 1 to 6; {GIVE_A_CLONE}") from error
