"""DeepPCB as labelled windows, as whole boards with boxes, and as sample images: the data of the bundled model.

    git clone https://github.com/tangsanli5201/DeepPCB
    python -m jobs.datasets.deeppcb windows DeepPCB --out work/windows --per-defect 2
    python -m jobs.datasets.deeppcb boards DeepPCB --out work/boards.csv
    python -m jobs.datasets.deeppcb samples DeepPCB --out sample_images

A defect is some 30 pixels wide: two patches of a 224-pixel input at the scan's own scale, so windows are enlarged;
those of whole boards, and of the samples, by the model's processor.
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
from jobs.datasets.board_files import LABELS, SPLITS, Board, read_boards, read_scan, split_boards
from jobs.datasets.windows import (
    SCALE,
    SIXTEEN_LEVELS,
    WINDOW,
    Box,
    cut_window,
    find_agreeing_positions,
    find_clear_positions,
    find_isolating_positions,
    find_patterned_positions,
)
from pipeline.atomic_files import atomic_write_path

OK_SHARE = 1.5  # `ok` windows per window of an average defect class
CORNERS = ("x0", "y0", "x1", "y1")
WHOLE_BOARDS = 4  # among the samples
SAMPLES_PER_LABEL = {label: 4 if label == "ok" else 2 for label in LABELS}


@dataclass(frozen=True)
class Crop:
    """One enlarged window.

    Attributes:
        image: grey pixels of a window.
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


def cut_defect_crops(
    board: Board, per_defect: int, rng: np.random.Generator, scale: int = SCALE
) -> Iterator[Crop | str]:
    """Cut `per_defect` crops of each defect; yield a reason, once, for a defect impossible to show alone."""
    scan = read_scan(board.tested)
    for label, box in board.defects:
        other_boxes = [other_box for _, other_box in board.defects if other_box is not box]
        positions = find_isolating_positions(box, other_boxes, scan.size)
        if not positions.any():
            yield "larger than a window" if max(box.x1 - box.x0, box.y1 - box.y0) > WINDOW else "too near to another"
            continue
        for _ in range(per_defect):
            if window := cut_window(scan, positions, rng, scale):
                yield Crop(window.image, label, board.name, window.locate(box))


def cut_ok_crops(
    board: Board, from_template: Sequence[bool], rng: np.random.Generator, scale: int = SCALE
) -> Iterator[Crop]:
    """Cut a crop of the template for each True, and of the tested board's clean parts, if any, for each False."""
    if not from_template:
        return
    tested, template = read_scan(board.tested), read_scan(board.template)
    clean = find_clear_positions((box for _, box in board.defects), tested.size)
    clean &= find_patterned_positions(tested) & find_agreeing_positions(tested, template)
    sources = {True: (template, find_patterned_positions(template)), False: (tested, clean)}
    for source in from_template:
        if window := cut_window(*sources[source], rng, scale):
            yield Crop(window.image, "ok", board.name, None)


def cut_split(
    boards: Sequence[Board], per_defect: int, seed: int, left_out: Counter[str], scale: int = SCALE
) -> Iterator[Crop]:
    """Cut all crops of one split, board by board.

    Args:
        boards: of the split.
        per_defect: number of crops of each defect.
        seed: of the positions.
        left_out: counts the defects without a window, by reason.
        scale: pixels of a crop for each of the scan.
    """
    defects = sum(len(board.defects) for board in boards)
    ok_count = round(OK_SHARE * defects * per_defect / (len(LABELS) - 1))
    for index, board in enumerate(boards):
        rng = np.random.default_rng([seed, zlib.crc32(board.name.encode())])  # one board's crops don't move another's
        for item in cut_defect_crops(board, per_defect, rng, scale):
            if isinstance(item, Crop):
                yield item
            else:
                left_out[item] += 1
        due = range(ok_count * index // len(boards), ok_count * (index + 1) // len(boards))
        yield from cut_ok_crops(board, [number % 2 == 0 for number in due], rng, scale)


def choose_samples(boards: Sequence[Board], seed: int, rng: np.random.Generator) -> list[Crop]:
    """Choose crops of boards in random order, one of a board, until there are enough of each label."""
    missing, chosen = Counter(SAMPLES_PER_LABEL), []
    for index in rng.permutation(len(boards)):
        crops = [crop for crop in cut_split([boards[index]], 1, seed, Counter(), scale=1) if missing[crop.label] > 0]
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
    _write_csv(out / "labels.csv", ("path", "label", "split", "board", *CORNERS), rows)
    click.echo("defects left out: " + (", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "none"))
    counts = Counter((row["split"], row["label"]) for row in rows)
    click.echo("".join(f"{name:>11}" for name in ("", *LABELS)))
    for split in SPLITS:
        click.echo(f"{split:>11}" + "".join(f"{counts[split, label]:11d}" for label in LABELS))


@main.command("boards")
@CHECKOUT
@click.option("--out", required=True, type=click.Path(path_type=Path), help="CSV to write.")
@SEED
def write_boards(checkout: Path, out: Path, seed: int) -> None:
    """List the whole boards with their boxes, one row per box, for --tile 112."""
    rows = []
    for split, boards in split_boards(checkout, seed).items():
        for board in boards:
            path = str(board.tested.resolve())
            rows += [{"path": path, "split": split, "board": board.name, **defect} for defect in _list_defects(board)]
    _write_csv(out, ("path", "label", "split", "board", *CORNERS), rows)
    click.echo(f"{len(rows)} rows in {out}")


@main.command("samples")
@CHECKOUT
@OUT
@SEED
def write_samples(checkout: Path, out: Path, seed: int) -> None:
    """Write a few windows of the test boards, no two of one board, and whole boards; no name gives a label away."""
    rng = np.random.default_rng(seed)
    boards = read_boards(checkout, "test")
    chosen = choose_samples(boards, seed, rng)
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for crop, number in zip(chosen, rng.choice(10_000, len(chosen), replace=False), strict=True):
        path = f"board-{number:04d}.png"
        crop.image.save(out / path, optimize=True)
        rows.append(crop.as_row(path))
    rows.sort(key=lambda row: row["path"])
    others = [board for board in boards if board.name not in {crop.board for crop in chosen}]
    for number, board in enumerate(choose_whole_boards(others, rng), start=1):
        path = f"whole-{number}.png"
        read_scan(board.tested).point(SIXTEEN_LEVELS).save(out / path, optimize=True)
        rows += [{"path": path, **defect} for defect in _list_defects(board)]
    _write_csv(out / "labels.csv", ("path", "label", *CORNERS), rows)
    click.echo(f"{len(chosen)} windows and {WHOLE_BOARDS} boards in {out}")


def choose_whole_boards(boards: Sequence[Board], rng: np.random.Generator) -> list[Board]:
    """Choose boards at random: the first draw that has all kinds of defects."""
    while True:
        drawn = [boards[index] for index in rng.choice(len(boards), WHOLE_BOARDS, replace=False)]
        if {label for board in drawn for label, _ in board.defects} == set(LABELS) - {"ok"}:
            return drawn


def _list_defects(board: Board) -> list[dict[str, str | int]]:
    """Return a row for each defect of a board; one without, if it has none."""
    return [{"label": label, **asdict(box)} for label, box in board.defects] or [{"label": "ok"}]


def _write_csv(file: Path, columns: Sequence[str], rows: Iterable[dict[str, str | int]]) -> None:
    with atomic_write_path(file, file.parent) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    with exit_on_error("deeppcb"):
        main()
