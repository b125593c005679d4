"""Cut labelled windows out of DeepPCB's board scans: what the bundled model learns from, and the samples.

    git clone https://github.com/tangsanli5201/DeepPCB
    python -m jobs.datasets.deeppcb windows DeepPCB --out work/windows --per-defect 2
    python -m jobs.datasets.deeppcb samples DeepPCB --out sample_images

A defect is some 30 pixels wide: two patches of a 224-pixel input at the scan's own scale, so windows are enlarged.
"""

import csv
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from PIL import Image

from jobs.datasets.windows import (
    WINDOW,
    Box,
    agreeing_places,
    clear_places,
    cut_window,
    isolating_places,
    patterned_places,
)
from pipeline.atomic_files import atomic_write_path
from pipeline.errors import DataError, VitrolloutError

LABELS = ("ok", "open", "short", "mousebite", "spur", "copper", "pinhole")  # DeepPCB numbers the defects from 1
SPLITS = ("train", "validation", "test")
VALIDATION_SHARE = 0.08  # of the training boards
OK_SHARE = 1.5  # `ok` windows per window of an average defect class
SAMPLES_PER_LABEL = {label: 4 if label == "ok" else 2 for label in LABELS}
GIVE_A_CLONE = "give the folder of a clone of tangsanli5201/DeepPCB"


@dataclass(frozen=True)
class Board:
    """One pair of scans of DeepPCB.

    Attributes:
        name: the pair's number, e.g. "20085000".
        tested: scan of the board with defects.
        template: scan of the same place without.
        defects: label and box in pixels of the scan.
    """

    name: str
    tested: Path
    template: Path
    defects: tuple[tuple[str, Box], ...]


@dataclass(frozen=True)
class Crop:
    """One enlarged window, 448 x 448 grey pixels; `box` is its defect's in pixels of the crop, None for `ok`."""

    image: Image.Image
    label: str
    board: str
    box: Box | None

    def row(self, path: str) -> dict[str, str | int]:
        """Its line in labels.csv."""
        box = {} if self.box is None else {"x0": self.box.x0, "y0": self.box.y0, "x1": self.box.x1, "y1": self.box.y1}
        return {"path": path, "label": self.label, "board": self.board, **box}


def read_boards(checkout: Path, listing: str) -> list[Board]:
    """The boards that `PCBData/<listing>.txt` names, in its order.

    Raises:
        DataError: the listing or an annotation is missing, or a line of them is not what it should be.
    """
    root = checkout / "PCBData"
    boards = []
    for line in _lines(root / f"{listing}.txt"):
        image, _, annotation = line.partition(" ")
        stem = root / image.removesuffix(".jpg")  # the listing's X.jpg stands for X_test.jpg and X_temp.jpg
        defects = tuple(_defect(text, root / annotation) for text in _lines(root / annotation))
        tested, template = (stem.with_name(f"{stem.name}_{kind}.jpg") for kind in ("test", "temp"))
        boards.append(Board(stem.name, tested, template, defects))
    return boards


def split_boards(checkout: Path, seed: int) -> dict[str, list[Board]]:
    """DeepPCB's own train and test boards; some of the training boards, drawn by `seed`, are for validation."""
    training, test = read_boards(checkout, "trainval"), read_boards(checkout, "test")
    order = np.random.default_rng(seed).permutation(len(training))
    held_out = set(order[: max(1, round(VALIDATION_SHARE * len(training)))].tolist())
    return {
        "train": [board for place, board in enumerate(training) if place not in held_out],
        "validation": [board for place, board in enumerate(training) if place in held_out],
        "test": test,
    }


def defect_crops(board: Board, per_defect: int, rng: np.random.Generator) -> Iterator[Crop | str]:
    """`per_defect` crops of each defect; for one that can't be alone in a window, the reason instead, once."""
    scan = _grey(board.tested)
    for label, box in board.defects:
        others = [other for _, other in board.defects if other is not box]
        places = isolating_places(box, others, scan.size)
        if not places.any():
            yield "larger than a window" if max(box.x1 - box.x0, box.y1 - box.y0) > WINDOW else "too near to another"
            continue
        for _ in range(per_defect):
            if window := cut_window(scan, places, rng):
                yield Crop(window.image, label, board.name, window.locate(box))


def ok_crops(board: Board, from_template: Sequence[bool], rng: np.random.Generator) -> Iterator[Crop]:
    """For each True a crop of the template, for each False of a clean place of the tested board, if there is one."""
    if not from_template:
        return
    tested, template = _grey(board.tested), _grey(board.template)
    clean = clear_places((box for _, box in board.defects), tested.size)
    clean &= patterned_places(tested) & agreeing_places(tested, template)
    sources = {True: (template, patterned_places(template)), False: (tested, clean)}
    for source in from_template:
        if window := cut_window(*sources[source], rng):
            yield Crop(window.image, "ok", board.name, None)


def cut_split(boards: Sequence[Board], per_defect: int, seed: int, left_out: Counter[str]) -> Iterator[Crop]:
    """All crops of one split, board by board; defects without a window are counted in `left_out` by reason."""
    defects = sum(len(board.defects) for board in boards)
    wanted = round(OK_SHARE * defects * per_defect / (len(LABELS) - 1))
    for place, board in enumerate(boards):
        rng = np.random.default_rng([seed, zlib.crc32(board.name.encode())])  # one board's crops don't move another's
        for item in defect_crops(board, per_defect, rng):
            if isinstance(item, Crop):
                yield item
            else:
                left_out[item] += 1
        due = range(wanted * place // len(boards), wanted * (place + 1) // len(boards))
        yield from ok_crops(board, [number % 2 == 0 for number in due], rng)


def choose_samples(boards: Sequence[Board], seed: int, rng: np.random.Generator) -> list[Crop]:
    """Crops of boards in random order, one of a board, until there are enough of each label."""
    missing, chosen = Counter(SAMPLES_PER_LABEL), []
    for place in rng.permutation(len(boards)):
        crops = [crop for crop in cut_split([boards[place]], 1, seed, Counter()) if missing[crop.label] > 0]
        if crops:
            chosen.append(min(crops, key=lambda crop: LABELS.index(crop.label)))
            missing[chosen[-1].label] -= 1
        if not missing.total():
            break
    return chosen


@click.group()
def main() -> None:
    """Cut labelled windows out of a clone of tangsanli5201/DeepPCB."""


CHECKOUT = click.argument("checkout", metavar="DEEPPCB_CHECKOUT", type=click.Path(path_type=Path))
OUT = click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write to.")
SEED = click.option("--seed", default=0, show_default=True, help="Of the boards that are drawn, and of the places.")


@main.command()
@CHECKOUT
@OUT
@click.option("--per-defect", default=2, show_default=True, type=click.IntRange(1), help="Windows of each, in train.")
@SEED
def windows(checkout: Path, out: Path, per_defect: int, seed: int) -> None:
    """Write the data set that the bundled model is trained on: PNG files and labels.csv."""
    rows, left_out = [], Counter[str]()
    for split, boards in split_boards(checkout, seed).items():
        (out / split).mkdir(parents=True, exist_ok=True)
        repeats = per_defect if split == "train" else 1
        for number, crop in enumerate(cut_split(boards, repeats, seed, left_out)):
            path = f"{split}/{number:06d}.png"
            crop.image.save(out / path)
            rows.append({**crop.row(path), "split": split})
    _write_csv(out / "labels.csv", ("path", "label", "split", "board", "x0", "y0", "x1", "y1"), rows)
    click.echo("defects left out: " + (", ".join(f"{count} {why}" for why, count in left_out.items()) or "none"))
    counts = Counter((row["split"], row["label"]) for row in rows)
    click.echo("".join(f"{name:>11}" for name in ("", *LABELS)))
    for split in SPLITS:
        click.echo(f"{split:>11}" + "".join(f"{counts[split, label]:11d}" for label in LABELS))


@main.command()
@CHECKOUT
@OUT
@SEED
def samples(checkout: Path, out: Path, seed: int) -> None:
    """Write a few windows of the test boards, no two of one board, under names that give no label away."""
    rng = np.random.default_rng(seed)
    chosen = choose_samples(read_boards(checkout, "test"), seed, rng)
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for crop, number in zip(chosen, rng.choice(10_000, len(chosen), replace=False), strict=True):
        path = f"board-{number:04d}.png"
        crop.image.save(out / path, optimize=True)
        rows.append(crop.row(path))
    rows.sort(key=lambda row: row["path"])
    _write_csv(out / "labels.csv", ("path", "label", "x0", "y0", "x1", "y1"), rows)
    click.echo(f"{len(rows)} samples in {out}")


def _write_csv(file: Path, columns: Sequence[str], rows: Iterable[dict[str, str | int]]) -> None:
    with atomic_write_path(file, file.parent) as temporary, temporary.open("w", newline="", encoding="utf-8") as sink:
        writer = csv.DictWriter(sink, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _grey(file: Path) -> Image.Image:
    try:
        with Image.open(file) as image:
            return image.convert("L")
    except OSError as error:
        raise DataError(f"{file}: no scan that can be read ({error.strerror or error}); {GIVE_A_CLONE}") from error


def _lines(file: Path) -> list[str]:
    try:
        return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}; {GIVE_A_CLONE}") from error


def _defect(line: str, file: Path) -> tuple[str, Box]:
    try:
        x0, y0, x1, y1, kind = (int(part) for part in line.split())
        return dict(enumerate(LABELS[1:], start=1))[kind], Box(x0, y0, x1, y1)
    except (ValueError, KeyError) as error:
        raise DataError(f"{file}: {line!r} is not 'x0 y0 x1 y1 type', type 1 to 6; {GIVE_A_CLONE}") from error


if __name__ == "__main__":
    try:
        main()
    except VitrolloutError as error:
        click.echo(f"deeppcb: {error}", err=True)
        sys.exit(error.exit_code)
