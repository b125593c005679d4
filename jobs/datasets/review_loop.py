"""The whole loop on DeepPCB: wrong labels found by review, a model trained from the corrected labels, its decisions.

    python -m jobs.datasets.deeppcb windows DeepPCB --out work/windows
    python -m jobs.datasets.review_loop work/windows --out work/loop

The photos are windows of the test boards, unseen by the bundled model. A tenth of their labels is wrong by intent. A
script stands for the reviewer: it knows the true labels, and answers through the page's own requests.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click
import httpx2
import numpy as np
import pandas as pd

import pipeline
from jobs.command_line.exits import exit_on_error
from pipeline.errors import DataError
from pipeline.maps.hot_regions import find_hot_regions
from pipeline.reviews.record import ReviewBox, new_record_id
from pipeline.reviews.truth import overlap

FLIPPED_SHARE = 0.1
REVIEWED_SHARE = 0.15
AUDIT_RATE = 0.1
ROWS_A_REQUEST = 64  # the most the server takes
RECIPE = ("--epochs", "2", "--train-blocks", "4", "--learning-rate", "5e-5", "--patience", "none")
DEFECTS = "open,short,mousebite,spur,copper,pinhole"


@dataclass(frozen=True)
class Loop:
    """The folders and files of one loop.

    Attributes:
        photos: the input folder.
        out: everything written.
        seed: of the wrong labels.
    """

    photos: Path
    out: Path
    seed: int

    @property
    def results(self) -> Path:
        """The results folder."""
        return self.out / "results"

    def labels(self, kind: str) -> Path:
        """Return the CSV of one kind of labels: true or flipped."""
        return self.out / f"{kind}.csv"

    def model(self, kind: str) -> Path:
        """Return the folder of the model trained from one kind of labels."""
        return self.out / "models" / kind


@click.command()
@click.argument("windows", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="folder for everything")
@click.option("--seed", default=0, show_default=True, help="of the wrong labels")
def main(windows: Path, out: Path, seed: int) -> None:
    """Go round the loop; steps done by an earlier call are not repeated."""
    loop = Loop((windows / "test").resolve(), out.resolve(), seed)
    loop.out.mkdir(parents=True, exist_ok=True)
    figures = loop.out / "figures.json"
    found: dict[str, Any] = json.loads(figures.read_text()) if figures.exists() else {}
    with exit_on_error("review_loop"):
        write_labels(loop, pd.read_csv(windows / "labels.csv"))
        for step in (
            run_model,
            measure_seeds,
            review_suspects,
            export_labels,
            train_models,
            compare_models,
            decide,
            audit_model,
        ):
            if step.__name__ not in found:
                found[step.__name__] = step(loop)
                figures.write_text(json.dumps(found, indent=1))
    click.echo(json.dumps(found))


def write_labels(loop: Loop, windows: pd.DataFrame) -> None:
    """Write true.csv and flipped.csv: path, label, board."""
    rows = windows[windows["split"] == "test"].reset_index(drop=True)
    names = rows["path"].str.removeprefix("test/")
    rng = np.random.default_rng(loop.seed)
    labels = sorted(rows["label"].unique())
    is_flipped = rng.random(len(rows)) < FLIPPED_SHARE
    shifts = rng.integers(1, len(labels), len(rows))
    others = [
        labels[(labels.index(label) + shift) % len(labels)] for label, shift in zip(rows["label"], shifts, strict=True)
    ]
    table = pd.DataFrame(
        {"path": [str(loop.photos / name) for name in names], "label": rows["label"], "board": rows["board"]}
    )
    table.to_csv(loop.labels("true"), index=False)
    table.assign(label=np.where(is_flipped, others, rows["label"])).to_csv(loop.labels("flipped"), index=False)


def run_model(loop: Loop) -> dict[str, Any]:
    """Run the bundled model over the photos."""
    call("run", loop.photos, "--out", loop.results, "--overlay-size", "none", "--no-report")
    frame = pipeline.read_results(loop.results, ["path", "label"])
    truth = read_labels(loop, "true")
    return {"photos": len(frame), "accuracy": float((frame["label"].astype(str) == frame["path"].map(truth)).mean())}


def review_suspects(loop: Loop) -> dict[str, Any]:
    """Answer the first photos of the queue of suspects; count the wrong labels among them."""
    truth, flipped = read_labels(loop, "true"), read_labels(loop, "flipped")
    with review(loop, "--order", "suspects", "--labels", str(loop.labels("flipped"))) as server:
        start = server.get("/api/start").raise_for_status().json()
        queue = start["queue"][: round(REVIEWED_SHARE * len(truth))]
        paths = answer_photos(server, queue, truth)
    wrong = {path for path in truth.index if truth[path] != flipped[path]}
    return {"wrong": len(wrong), "reviewed": len(queue), "found": len(wrong & set(paths))}


def audit_model(loop: Loop) -> dict[str, Any]:
    """Answer the photos of the audit; return its estimate."""
    with review(loop, "--order", "audit", "--audit", str(AUDIT_RATE)) as server:
        start = server.get("/api/start").raise_for_status().json()
        answer_photos(server, start["queue"], read_labels(loop, "true"))
        counts: dict[str, Any] = server.get("/api/changes?since=0").raise_for_status().json()["counts"]
    return {"estimate": counts["estimate"]}


def export_labels(loop: Loop) -> dict[str, Any]:
    """Export the corrected labels, split by board; write the true and the flipped ones of the same photos beside."""
    folder = loop.out / "corrected"
    call(
        "export", loop.results, "--format", "csv", "--photos", "link", "--out", folder,
        "--labels", loop.labels("flipped"), "--group", "column:board", "--replace",
    )  # fmt: skip
    manifest = pd.read_parquet(folder / "manifest.parquet")
    manifest = manifest[manifest["left_out"].isna()]
    for kind in ("true", "flipped"):
        labels = manifest["path"].map(read_labels(loop, kind))
        table = manifest.assign(path=[str(loop.photos / path) for path in manifest["path"]], label=labels)
        table[["path", "label", "split"]].to_csv(loop.out / f"train_{kind}.csv", index=False)
    corrected = manifest["label"] == manifest["path"].map(read_labels(loop, "true"))
    return {"wrong_left": int((~corrected).sum()), "photos": manifest["split"].value_counts().to_dict()}


def train_models(loop: Loop) -> dict[str, Any]:
    """Train on the true, the flipped and the corrected labels, and straight from the results folder."""
    data = {
        "true": loop.out / "train_true.csv",
        "flipped": loop.out / "train_flipped.csv",
        "corrected": loop.out / "corrected" / "labels.csv",
        "reviewed": loop.results,
    }
    for kind, source in data.items():
        boards = ("--labels", loop.labels("flipped")) if kind == "reviewed" else ()  # the column of the groups
        call("finetune", source, "--model", "bundled", "--out", loop.model(kind), *RECIPE, *boards)
    return {kind: str(loop.model(kind)) for kind in data}


def measure_seeds(loop: Loop) -> dict[str, Any]:
    """Compare the boxes proposed for 200 windows with the annotated ones, one a window."""
    windows = pd.read_csv(loop.photos.parent / "labels.csv")
    windows = windows[(windows["split"] == "test") & windows["x0"].notna()].sample(200, random_state=loop.seed)
    model = pipeline.load_model("bundled", method="libragrad", tile=None)  # windows, enlarged
    counts, overlaps = [], []
    rows: list[dict[str, Any]] = windows.to_dict("records")  # type: ignore[assignment]
    for row in rows:
        (prediction,) = model.predict(loop.photos.parent / row["path"])
        regions = find_hot_regions(prediction.map, prediction.map_box, (448, 448))
        truth = ReviewBox(row["x0"], row["y0"], row["x1"], row["y1"], "")
        counts.append(len(regions))
        overlaps.append(max((overlap(ReviewBox(r.x0, r.y0, r.x1, r.y1, ""), truth) for r in regions), default=0.0))
    return {"boxes": float(np.mean(counts)), "found": float((np.array(overlaps) >= 0.5).mean())}


def compare_models(loop: Loop) -> dict[str, Any]:
    """Evaluate all models on the true labels of the test boards, each against the model of the true labels."""
    found = {}
    for kind in ("true", "flipped", "corrected", "reviewed", "bundled"):
        model = "bundled" if kind == "bundled" else loop.model(kind)
        out = loop.out / "evaluations" / kind
        call(
            "evaluate", loop.out / "train_true.csv", "--split", "test", "--model", model,
            "--against", loop.model("true"), "--out", out,
        )  # fmt: skip
        found[kind] = json.loads((out / "metrics.json").read_text())
    return found


def decide(loop: Loop) -> dict[str, Any]:
    """Choose a decision on validation boards; return its costs on the test boards."""
    out = loop.out / "evaluations" / "decision"
    call(
        "evaluate", loop.out / "train_true.csv", "--model", loop.model("corrected"), "--positive", DEFECTS,
        "--recall", "0.99", "--false-alarms", "0.01", "--save-decision", "--out", out,
    )  # fmt: skip
    costs: dict[str, Any] = json.loads((out / "metrics.json").read_text())["decision"]
    return costs


def call(*arguments: object) -> None:
    """Run a command of vitrollout."""
    subprocess.run([sys.executable, "-m", "jobs.cli", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


@contextmanager
def review(loop: Loop, *options: str) -> Iterator[httpx2.Client]:
    """Start a review; yield a client with its address and token."""
    command = [
        sys.executable,
        "-m",
        "jobs.cli",
        "review",
        str(loop.results),
        "--no-browser",
        "--who",
        "script",
        *options,
    ]
    log = loop.out / "review.log"
    with log.open("wb") as stderr, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr) as server:
        try:
            url, token = wait_for_address(log, server).split("/#token=")
            with httpx2.Client(base_url=url, headers={"X-Review-Token": unquote(token)}, timeout=60) as client:
                yield client
        finally:
            server.send_signal(signal.SIGINT)


def wait_for_address(log: Path, server: "subprocess.Popen[bytes]") -> str:
    """Return the address printed by a review.

    Raises:
        DataError: it ended before that.
    """
    while server.poll() is None:
        for line in log.read_text().splitlines():
            if line.startswith("Review at "):
                return line.removeprefix("Review at ")
        time.sleep(0.1)
    raise DataError(f"the review ended: {log.read_text()}")


def answer_photos(server: httpx2.Client, queue: list[int], truth: "pd.Series[str]") -> list[str]:
    """Answer photos with their true label; return their paths."""
    paths = []
    for start in range(0, len(queue), ROWS_A_REQUEST):
        numbers = ",".join(map(str, queue[start : start + ROWS_A_REQUEST]))
        for row in server.get(f"/api/rows?rows={numbers}").raise_for_status().json()["rows"]:
            label = truth[row["path"]]
            record = {
                "id": new_record_id(), "row": row["row"], "content_hash": row["content_hash"], "verdict": "corrected",
                "label": label, "how": "api",
            }  # fmt: skip
            server.post("/api/records", json=record).raise_for_status()
            paths.append(row["path"])
    return paths


def read_labels(loop: Loop, kind: str) -> "pd.Series[str]":
    """Read the labels of one kind, by path in the results folder."""
    table = pd.read_csv(loop.labels(kind))
    return table.set_index(table["path"].map(os.path.basename))["label"]


if __name__ == "__main__":
    main()
