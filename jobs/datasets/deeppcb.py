"""Cut labelled windows out of DeepPCB's board scans: the training data of the bundled model, and the sample images.

    git clone https://github.com/tangsanli5201/DeepPCB
    python -m jobs.datasets.deeppcb windows DeepPCB --out work/windows --per-defect 2
    python -m jobs.datasets.deeppcb samples DeepPCB --out sample_images

A defect is some 30 pixels wide: two patches of a 224-pixel input at the scan's own scale, so windows are enlarged.
"""

import csv
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from PIL import Image

from jobs.command_line.exits import exit_on_error
from jobs.datasets.windows import (
    WINDOW,
    Box,
    cut_window,
    find_agreeing_positions,
    find_clear_positions,
    find_isolating_positions,
    find_patterned_positions,
)
from pipeline.atomic_files import atomic_write_path
from pipeline.errors import DataError

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
        template: scan of the same part of a board without defects.
        defects: label and box in pixels of the scan.
    """

    name: str
    tested: Path
    template: Path
    defects: tuple[tuple[str, Box], ...]


@dataclass(frozen=True)
class Crop:
    """One enlarged window.

    Attributes:
        image: 448 x 448 grey pixels.
        label: one of `LABELS`.
        board: name of its board.
        box: of the defect, in pixels of the crop; None for `ok`.
    """

    image: Image.Image
    label: str
    board: str
    box: Box | None

    def as_row(self, path: str) -> dict[str, str | int]:
        """Return its line in labels.csv."""
        return {"path": path, "label": self.label, "board": self.board, **(asdict(self.box) if self.box else {})}


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


def cut_defect_crops(board: Board, per_defect: int, rng: np.random.Generator) -> Iterator[Crop | str]:
    """Cut `per_defect` crops of each defect; yield a reason, once, for a defect impossible to show alone."""
    scan = _read_scan(board.tested)
    for label, box in board.defects:
        other_boxes = [other_box for _, other_box in board.defects if other_box is not box]
        positions = find_isolating_positions(box, other_boxes, scan.size)
        if not positions.any():
            yield "larger than a window" if max(box.x1 - box.x0, box.y1 - box.y0) > WINDOW else "too near to another"
            continue
        for _ in range(per_defect):
            if window := cut_window(scan, positions, rng):
                yield Crop(window.image, label, board.name, window.locate(box))


def cut_ok_crops(board: Board, from_template: Sequence[bool], rng: np.random.Generator) -> Iterator[Crop]:
    """Cut a crop of the template for each True, and of the tested board's clean parts, if any, for each False."""
    if not from_template:
        return
    tested, template = _read_scan(board.tested), _read_scan(board.template)
    clean = find_clear_positions((box for _, box in board.defects), tested.size)
    clean &= find_patterned_positions(tested) & find_agreeing_positions(tested, template)
    sources = {True: (template, find_patterned_positions(template)), False: (tested, clean)}
    for source in from_template:
        if window := cut_window(*sources[source], rng):
            yield Crop(window.image, "ok", board.name, None)


def cut_split(boards: Sequence[Board], per_defect: int, seed: int, left_out: Counter[str]) -> Iterator[Crop]:
    """Cut all crops of one split, board by board.

    Args:
        boards: of the split.
        per_defect: number of crops of each defect.
        seed: of the positions.
        left_out: counts the defects without a window, by reason.
    """
    defects = sum(len(board.defects) for board in boards)
    ok_count = round(OK_SHARE * defects * per_defect / (len(LABELS) - 1))
    for index, board in enumerate(boards):
        rng = np.random.default_rng([seed, zlib.crc32(board.name.encode())])  # one board's crops don't move another's
        for item in cut_defect_crops(board, per_defect, rng):
            if isinstance(item, Crop):
                yield item
            else:
                left_out[item] += 1
        due = range(ok_count * index // len(boards), ok_count * (index + 1) // len(boards))
        yield from cut_ok_crops(board, [number % 2 == 0 for number in due], rng)


def choose_samples(boards: Sequence[Board], seed: int, rng: np.random.Generator) -> list[Crop]:
    """Choose crops of boards in random order, one of a board, until there are enough of each label."""
    missing, chosen = Counter(SAMPLES_PER_LABEL), []
    for index in rng.permutation(len(boards)):
        crops = [crop for crop in cut_split([boards[index]], 1, seed, Counter()) if missing[crop.label] > 0]
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
SEED = click.option("--seed", default=0, show_default=True, help="Seed of the drawn boards and positions.")


@main.command("windows")
@CHECKOUT
@OUT
@click.option("--per-defect", default=2, show_default=True, type=click.IntRange(1), help="Windows of each, in train.")
@SEED
def write_windows(checkout: Path, out: Path, per_defect: int, seed: int) -> None:
    """Write the training data of the bundled model: PNG files and labels.csv."""
    rows, left_out = [], Counter[str]()
    for split, boards in split_boards(checkout, seed).items():
        (out / split).mkdir(parents=True, exist_ok=True)
        repeats = per_defect if split == "train" else 1
        for number, crop in enumerate(cut_split(boards, repeats, seed, left_out)):
            path = f"{split}/{number:06d}.png"
            crop.image.save(out / path)
            rows.append({**crop.as_row(path), "split": split})
    _write_csv(out / "labels.csv", ("path", "label", "split", "board", "x0", "y0", "x1", "y1"), rows)
    click.echo("defects left out: " + (", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "none"))
    counts = Counter((row["split"], row["label"]) for row in rows)
    click.echo("".join(f"{name:>11}" for name in ("", *LABELS)))
    for split in SPLITS:
        click.echo(f"{split:>11}" + "".join(f"{counts[split, label]:11d}" for label in LABELS))


@main.command("samples")
@CHECKOUT
@OUT
@SEED
def write_samples(checkout: Path, out: Path, seed: int) -> None:
    """Write a few windows of the test boards, no two of one board, under names without a hint of the label."""
    rng = np.random.default_rng(seed)
    chosen = choose_samples(read_boards(checkout, "test"), seed, rng)
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for crop, number in zip(chosen, rng.choice(10_000, len(chosen), replace=False), strict=True):
        path = f"board-{number:04d}.png"
        crop.image.save(out / path, optimize=True)
        rows.append(crop.as_row(path))
    rows.sort(key=lambda row: row["path"])
    _write_csv(out / "labels.csv", ("path", "label", "x0", "y0", "x1", "y1"), rows)
    click.echo(f"{len(rows)} samples in {out}")


def _write_csv(file: Path, columns: Sequence[str], rows: Iterable[dict[str, str | int]]) -> None:
    with atomic_write_path(file, file.parent) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _read_scan(file: Path) -> Image.Image:
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


if __name__ == "__main__":
    with exit_on_error("deeppcb"):
        main()
