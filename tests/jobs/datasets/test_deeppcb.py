"""Windows cut out of generated boards, laid out like a clone of DeepPCB."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image, ImageDraw

from jobs.datasets.board_files import LABELS
from jobs.datasets.deeppcb import main
from jobs.datasets.windows import WINDOW, Box, cut_window, find_agreeing_positions, find_isolating_positions
from pipeline.errors import DataError
from pipeline.labelled.read import read_labelled_photos

SIZE = 320
TRACES = [(0, 20, SIZE, 28), (0, 280, SIZE, 288), (20, 0, 28, SIZE), (280, 0, 288, SIZE)]


def draw_board(boxes: list[Box]) -> Image.Image:
    """Draw white laminate, black traces along the border, and a black square in each box, a pixel inside it."""
    board = Image.new("L", (SIZE, SIZE), 255)
    pen = ImageDraw.Draw(board)
    for trace in TRACES:
        pen.rectangle(trace, fill=0)
    for box in boxes:
        pen.rectangle((box.x0 + 1, box.y0 + 1, box.x1 - 2, box.y1 - 2), fill=0)
    return board


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return save_checkout(tmp_path, test_boards=10)


def save_checkout(tmp_path: Path, test_boards: int) -> Path:
    """Save 20 training boards, and test boards; two of the four defects of each are too near to show alone."""
    root = tmp_path / "clone" / "PCBData"
    rng = np.random.default_rng(5)
    for listing, names in {"trainval": range(100, 120), "test": range(200, 200 + test_boards)}.items():
        lines = []
        for name in names:
            kinds = rng.permutation(6)[:4] + 1
            far = [Box(40, 40, 70, 66), Box(235, 240, 261, 275)]
            near = [Box(50, 238, 80, 270), Box(75, 240, 100, 262)]
            image, annotation = root / "group" / f"{name}.jpg", root / "group_not" / f"{name}.txt"
            for folder in (image.parent, annotation.parent):
                folder.mkdir(parents=True, exist_ok=True)
            # PNG inside, despite the name: JPEG would blur the measured squares.
            draw_board(far + near).save(image.with_name(f"{name}_test.jpg"), format="PNG")
            draw_board([]).save(image.with_name(f"{name}_temp.jpg"), format="PNG")
            rows = zip(far + near, kinds, strict=True)
            text = "".join(f"{box.x0} {box.y0} {box.x1} {box.y1} {kind}\n" for box, kind in rows)
            annotation.write_text(text, encoding="utf-8")
            lines.append(f"{image.relative_to(root)} {annotation.relative_to(root)}\n")
        (root / f"{listing}.txt").write_text("".join(lines), encoding="utf-8")
    return root.parent


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def read_rows(out: Path) -> list[dict[str, str]]:
    with (out / "labels.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_window_holds_its_defect_whole_and_touches_no_other() -> None:
    box, other = Box(100, 100, 130, 120), Box(160, 90, 190, 110)
    positions = find_isolating_positions(box, [other], (SIZE, SIZE))
    for y, x in np.argwhere(positions):
        assert x <= box.x0
        assert box.x1 <= x + WINDOW
        assert y <= box.y0
        assert box.y1 <= y + WINDOW
        assert x + WINDOW < other.x0 or other.x1 < x or y + WINDOW < other.y0 or other.y1 < y
    assert positions.sum() > 1000, "all such windows are found, not some"
    assert not find_isolating_positions(box, [Box(125, 100, 140, 110)], (SIZE, SIZE)).any(), "overlapping boxes"
    assert not find_isolating_positions(Box(50, 50, 170, 70), [], (SIZE, SIZE)).any(), "wider than a window"


def test_a_window_stays_on_the_scan_also_for_a_defect_in_its_corner() -> None:
    scan = draw_board([])
    for box in (Box(0, 0, 20, 20), Box(SIZE - 20, SIZE - 20, SIZE, SIZE)):
        for seed in range(20):
            window = cut_window(scan, find_isolating_positions(box, [], scan.size), np.random.default_rng(seed))
            assert window is not None
            assert 0 <= window.x <= SIZE - WINDOW
            assert 0 <= window.y <= SIZE - WINDOW


def test_windows_hold_their_defect_anywhere() -> None:
    scan, box = draw_board([]), Box(150, 150, 170, 170)
    positions = find_isolating_positions(box, [], scan.size)
    windows = [cut_window(scan, positions, np.random.default_rng(seed)) for seed in range(300)]
    offsets = np.array([(box.x0 - window.x, box.y0 - window.y) for window in windows if window])  # (300, 2)
    room = WINDOW - 20
    for share in (0.25, 0.5, 0.75):
        assert np.quantile(offsets, share, axis=0) == pytest.approx(share * room, abs=0.12 * room)


def test_a_difference_without_annotation_is_not_clean() -> None:
    hidden = Box(150, 150, 162, 162)
    positions = find_agreeing_positions(draw_board([hidden]), draw_board([]))
    assert positions[0, 0]
    assert not positions[100, 100]
    speck = draw_board([])
    speck.putpixel((160, 160), 0)
    assert find_agreeing_positions(speck, draw_board([])).all()


def test_boxes_fit_the_squares_after_enlargement(checkout: Path, tmp_path: Path) -> None:
    assert run("windows", checkout, "--out", tmp_path / "out").exit_code == 0
    defects = [row for row in read_rows(tmp_path / "out") if row["label"] != "ok"]
    assert defects
    for row in defects:
        x0, y0, x1, y1 = (int(row[side]) for side in ("x0", "y0", "x1", "y1"))
        with Image.open(tmp_path / "out" / row["path"]) as image:
            assert image.size == (448, 448)
            assert image.mode == "L"
            inside = np.asarray(image)[y0:y1, x0:x1] < 128
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        # The square begins one pixel of the scan, four of the crop, inside the box on every side.
        assert (columns[0], columns[-1], rows[0], rows[-1]) == (4, x1 - x0 - 5, 4, y1 - y0 - 5)


def test_splits_are_official_and_share_no_board(checkout: Path, tmp_path: Path) -> None:
    result = run("windows", checkout, "--out", tmp_path / "out", "--per-defect", "3")
    rows = read_rows(tmp_path / "out")
    boards = {
        split: {row["board"] for row in rows if row["split"] == split} for split in ("train", "validation", "test")
    }
    assert boards["test"] == {str(name) for name in range(200, 210)}
    assert len(boards["validation"]) == 2
    assert not boards["validation"] & boards["train"]
    assert boards["validation"] | boards["train"] == {str(name) for name in range(100, 120)}
    defects = Counter(row["board"] for row in rows if row["label"] != "ok")
    per_board = {split: {defects[board] for board in boards[split]} for split in boards}
    assert per_board == {"train": {2 * 3}, "validation": {2}, "test": {2}}
    assert "defects left out: 60 too near to another" in result.output
    assert [line.split()[0] for line in result.output.splitlines()[-3:]] == ["train", "validation", "test"]


def test_ok_windows_show_a_pattern_and_no_defect(checkout: Path, tmp_path: Path) -> None:
    run("windows", checkout, "--out", tmp_path / "out")
    fine = [row for row in read_rows(tmp_path / "out") if row["label"] == "ok"]
    # 1.5 of an average class: 18 boards x 4 defects x 2, 2 boards x 4, 10 boards x 4, each / 6 classes
    assert len(fine) == 36 + 2 + 10
    for row in fine:
        with Image.open(tmp_path / "out" / row["path"]) as image:
            black = np.asarray(image) < 128
        assert 0.05 <= black.mean() <= 0.95
        # Traces only: black pixels lie in a row or column black from end to end, rounded corners apart.
        traces = np.logical_or(np.all(black, axis=0)[None, :], np.all(black, axis=1)[:, None])
        assert traces[black].mean() > 0.99


def test_same_seed_same_files_other_seed_others(checkout: Path, tmp_path: Path) -> None:
    for name, seed in (("first", 0), ("second", 0), ("third", 1)):
        run("windows", checkout, "--out", tmp_path / name, "--seed", str(seed))
    contents = [
        {str(file.relative_to(tmp_path / name)): file.read_bytes() for file in (tmp_path / name).rglob("*.*")}
        for name in ("first", "second", "third")
    ]
    assert contents[0] == contents[1] != contents[2]


def test_samples_are_windows_and_boards_with_neutral_names(tmp_path: Path) -> None:
    checkout = save_checkout(tmp_path, test_boards=40)
    for name in ("first", "second"):
        result = run("samples", checkout, "--out", tmp_path / name)
        assert result.exit_code == 0, result.output
    rows = read_rows(tmp_path / "first")
    windows = [row for row in rows if row["path"].startswith("board-")]
    assert Counter(row["label"] for row in windows) == {label: 4 if label == "ok" else 2 for label in LABELS}
    assert all((row["x0"] == "") == (row["label"] == "ok") for row in windows)
    whole = [row for row in rows if row["path"].startswith("whole-")]
    assert len(whole) == 4 * 4
    assert {row["label"] for row in whole} == set(LABELS) - {"ok"}
    assert len(windows) + len(whole) == len(rows)
    files = sorted((tmp_path / "first").glob("*.png"))
    assert list(dict.fromkeys(row["path"] for row in rows)) == [file.name for file in files]
    for file in files:
        with Image.open(file) as image:
            assert image.size == ((SIZE, SIZE) if file.name.startswith("whole-") else (WINDOW, WINDOW))
    assert rows == read_rows(tmp_path / "second")


def test_boards_are_listed_with_every_box(checkout: Path, tmp_path: Path) -> None:
    (checkout / "PCBData" / "group_not" / "200.txt").write_text("", encoding="utf-8")
    assert run("boards", checkout, "--out", tmp_path / "boards.csv").exit_code == 0
    photos = {photo.name: photo for photo in read_labelled_photos(tmp_path / "boards.csv")}
    splits = Counter(photo.split for photo in photos.values())
    assert splits == {"train": 18, "validation": 2, "test": 10}
    good = [photo for photo in photos.values() if photo.boxes == ()]
    assert [photo.file.name for photo in good] == ["200_test.jpg"]
    for photo in photos.values():
        if photo.boxes:
            assert {box.box for box in photo.boxes} == {
                (40, 40, 70, 66), (235, 240, 261, 275), (50, 238, 80, 270), (75, 240, 100, 262),
            }  # fmt: skip


def test_a_folder_without_the_data_set_is_named(tmp_path: Path) -> None:
    result = run("windows", tmp_path, "--out", tmp_path / "out")
    assert isinstance(result.exception, DataError)
    assert "trainval.txt: No such file" in str(result.exception)
    assert "clone" in str(result.exception)


@pytest.mark.parametrize("line", ["1 2 3 4 7", "1 2 3", "a b c d 1"])
def test_a_wrong_annotation_is_named(checkout: Path, tmp_path: Path, line: str) -> None:
    (checkout / "PCBData" / "group_not" / "100.txt").write_text(line, encoding="utf-8")
    result = run("windows", checkout, "--out", tmp_path / "out")
    assert isinstance(result.exception, DataError)
    assert "100.txt" in str(result.exception)
