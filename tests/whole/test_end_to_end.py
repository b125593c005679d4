"""The bundled model on real photos, as a user meets it first."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr

import pipeline

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "sample_images"
NO_NETWORK = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}  # nobody listens there


CORNERS = ("x0", "y0", "x1", "y1")


def truth() -> dict[str, list[dict[str, str]]]:
    """The rows of each photo: one for each defect of a whole board, one for each window."""
    rows: dict[str, list[dict[str, str]]] = {}
    with (SAMPLES / "labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["path"], []).append(row)
    return rows


def is_window(path: str) -> bool:
    return path.startswith("board-")


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """`vitrollout run sample_images/` as a process, with no way to the network."""
    out = tmp_path_factory.mktemp("out")
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", "run", str(SAMPLES), "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | NO_NETWORK,
    )
    assert done.returncode == 0, done.stderr
    return out, done


def test_first_line_names_the_model_and_what_it_was_trained_for(first_run):
    first = first_run[1].stderr.splitlines()[0]
    assert "bundled" in first
    assert "circuit board" in first


def test_maps_are_those_of_the_models_verdict(first_run):
    """They point inside the boxes, unlike rollout's."""
    frame = pipeline.read_results(first_run[0])
    assert set(frame["method"]) == {"attention"}
    assert "method = attention: by the model's verdict, measured on " in first_run[1].stderr
    boxes = {
        path: [float(row[corner]) for corner in CORNERS]
        for path, (row, *_) in truth().items() if is_window(path) and row["x0"]
    }  # fmt: skip
    hits = 0
    for row in frame[frame["path"].isin(boxes)].itertuples():
        y, x = divmod(int(row.attention.argmax()), row.grid_w)
        x0, y0, x1, y1 = boxes[row.path]
        hits += x0 <= (x + 0.5) * row.width / row.grid_w <= x1 and y0 <= (y + 0.5) * row.height / row.grid_h <= y1
    assert hits >= 0.9 * len(boxes)


def test_labels_of_the_samples_are_right(first_run):
    frame = pipeline.read_results(first_run[0]).set_index("path")
    labels = truth()
    assert set(frame.index) == set(labels)
    right = [frame.loc[path, "label"] in {row["label"] for row in rows} for path, rows in labels.items()]
    assert sum(right) >= len(right) - 1
    assert json.loads(first_run[1].stdout)["ok"] == len(labels)


def test_defects_of_whole_boards_are_found(first_run):
    """In windows, without being told; a defect is found if the centre of a detection lies in its box."""
    out, done = first_run
    frame = pipeline.read_results(out).set_index("path")
    assert "tile = 112: the model learned from windows of this size" in done.stderr
    assert set(frame["tile"]) == {112}
    found = of = false_alarms = 0
    for path, rows in truth().items():
        if is_window(path):
            assert frame.loc[path, "tiles"] == 1
            continue
        boxes = [[float(row[corner]) for corner in CORNERS] for row in rows]
        likely = [one for one in frame.loc[path, "detections"] if one["score"] >= 0.5]
        centres = [((one["x0"] + one["x1"]) / 2, (one["y0"] + one["y1"]) / 2) for one in likely]
        inside = [[x0 <= x <= x1 and y0 <= y <= y1 for x0, y0, x1, y1 in boxes] for x, y in centres]
        found += int(np.any(inside, axis=0).sum())
        of += len(boxes)
        false_alarms += sum(not any(each) for each in inside)
    assert of == 29
    assert found >= 27
    assert false_alarms <= 12


def test_overlays_are_the_photos_with_the_map_on_them(first_run):
    out = first_run[0]
    frame = pipeline.read_results(out)
    for row in frame[frame["path"].map(is_window)].itertuples():
        with Image.open(SAMPLES / row.path) as photo, Image.open(out / row.overlay) as overlay:
            before = np.asarray(photo.convert("RGB"), dtype=float)
            change = np.abs(np.asarray(overlay, dtype=float) - before).sum(axis=2)  # (h, w)
        heat = row.attention.reshape(row.grid_h, row.grid_w)
        cells = change.reshape(row.grid_h, 112 // row.grid_h, row.grid_w, 112 // row.grid_w).mean(axis=(1, 3))
        hottest, coldest = np.unravel_index(heat.argmax(), heat.shape), np.unravel_index(heat.argmin(), heat.shape)
        assert cells[hottest] > 100, row.path
        assert cells[coldest] < cells[hottest] / 3, row.path


@pytest.fixture(scope="module")
def precisions(tmp_path_factory):
    frames = {}
    for precision in ("fp32", "bf16"):
        out = tmp_path_factory.mktemp(precision)
        settings = {"input": SAMPLES, "out": out, "pattern": "board-*.png", "overlay_size": None}
        pipeline.run(pipeline.RunConfig(**settings, method="rollout", precision=precision))
        frames[precision] = pipeline.read_results(out)
    return frames


def test_bf16_says_what_fp32_says(precisions):
    assert (precisions["bf16"]["label"].astype(str) == precisions["fp32"]["label"].astype(str)).all()
    maps = {name: pipeline.stack_attention(frame).reshape(len(frame), -1) for name, frame in precisions.items()}
    correlations = [spearmanr(*pair).statistic for pair in zip(maps["bf16"], maps["fp32"], strict=True)]
    assert np.mean(correlations) >= 0.99


def test_bf16_maps_keep_float32_detail(precisions):
    maps = pipeline.stack_attention(precisions["bf16"])
    cells = maps[0].size
    assert min(len(np.unique(one)) for one in maps) > 0.95 * cells


def test_sample_names_give_nothing_away():
    labels = {row["label"] for rows in truth().values() for row in rows}
    assert len(labels) == 7
    for path in truth():
        assert not any(label in path for label in labels)
    assert sum(file.stat().st_size for file in SAMPLES.iterdir()) < 500_000


def test_make_run(tmp_path):
    """The README's command; only the set-up, which `make test` has done, is taken as done."""
    make = ["make", "--no-print-directory", "run", f"BIN={Path(sys.executable).parent}", "--old-file=.venv/.run"]
    done = subprocess.run(
        [*make, f"INPUT={SAMPLES}", f"OUT={tmp_path / 'out'}", "ARGS=--limit 2 --overlay-size none"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["ok"] == 2
    assert len(pipeline.read_results(tmp_path / "out")) == 2
    asked = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=False)
    assert asked.returncode == 2
    assert "make run INPUT=photos/" in asked.stderr
