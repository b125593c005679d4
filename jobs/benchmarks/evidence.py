"""Measure how well the heat of --target defects --versus good sets defective photos apart from good ones.

DATA is a folder with a subfolder per class, or a CSV path,label[,split]; of splits the test photos count. Prints the
hottest values of good and of defective photos, as shares of the model's scale if it has one, and their ROC AUC: 1 if
every defective photo glows brighter than every good one. The last line is JSON.

python -m jobs.benchmarks.evidence windows/labels.csv
python -m jobs.benchmarks.evidence cells.csv --model models/cells --positive defect --method relevance
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from jobs.command_line.decorator import command
from jobs.command_line.exits import exit_on_error
from pipeline.errors import DataError
from pipeline.labelled.read import labelled_ref, read_labelled_photos
from pipeline.labelled.splits import LabelledPhoto, resolve_split
from pipeline.maps.methods import DEFAULT_LABEL_METHOD, LABEL_METHODS
from pipeline.maps.passes import MapPlan
from pipeline.model.map_scale import spread_evenly
from pipeline.model.open import OpenedModel, open_model
from pipeline.model.predictor import build_predictor
from pipeline.model.targets import DEFECTS, GOOD, Targets, find_targets
from pipeline.overlays.scale import find_model_span
from pipeline.photos.loader import PhotoLoader
from pipeline.records import Doubles
from pipeline.settings import ModelSettings


@command(__doc__)
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--model", default="bundled", show_default=True)
@click.option("--positive", default="", help="LABEL[,LABEL...]; default: as --positive of a run")
@click.option("--method", type=click.Choice(LABEL_METHODS), default=DEFAULT_LABEL_METHOD, show_default=True)
@click.option("--photos", default=400, show_default=True, help="half of them good")
def evidence_command(data: Path, model: str, positive: str, method: str, photos: int) -> None:
    logging.disable(logging.INFO)
    opened = open_model(ModelSettings(model=model))
    targets = _find_defects(opened, positive)
    good, defective = (
        _measure_hottest(spread_evenly(kind, photos // 2), opened, method, targets)
        for kind in _split_by_defect(data, opened.checkpoint.labels, targets)
    )
    span = find_model_span("auto", method, targets, opened)
    low, high = span or (0.0, float(np.median(defective)))
    print(
        f"hottest values by {method}, as shares of {high:.3g}, {'the scale of the model' if span else 'their median'}"
    )
    print("| photos | number | 5% below | median | 95% below |\n|---|---|---|---|---|")
    for name, values in (("good", good), ("defective", defective)):
        shares = (np.percentile(values, (5, 50, 95)) - low) / (high - low)
        print(f"| {name} | {len(values)} | " + " | ".join(f"{share:.2f}" for share in shares) + " |")
    print(json.dumps({"roc_auc": round(_compare_pairs(good, defective), 4), "low": low, "high": high}))


def _find_defects(opened: OpenedModel, positive: str) -> Targets:
    decision, named = opened.read_decision(), tuple(filter(None, positive.split(",")))
    saved = decision.positive if decision else ()
    targets, problems = find_targets(DEFECTS, GOOD, opened.checkpoint.labels, named, saved)
    if problems:
        raise DataError("; ".join(problems))
    return targets


def _split_by_defect(data: Path, labels: Sequence[str], targets: Targets) -> tuple[list[LabelledPhoto], ...]:
    """Return the good test photos and the defective ones."""
    photos = read_labelled_photos(data)
    split = resolve_split("auto", {photo.split for photo in photos})
    tested = [photo for photo in photos if split in ("all", photo.split)]
    defects = {labels[label_id] for label_id in targets.label_ids}
    kinds = tuple([photo for photo in tested if (photo.label in defects) == is_defect] for is_defect in (False, True))
    if not all(kinds):
        raise DataError(f"{data}: needs good and defective photos to test; name the defects with --positive")
    return kinds


def _measure_hottest(photos: Sequence[LabelledPhoto], opened: OpenedModel, method: str, targets: Targets) -> Doubles:
    """Return the hottest value of each photo, (n,)."""
    classifier = opened.load()
    plan = MapPlan((method,), target=targets.label_ids, versus=targets.versus_ids)
    predictor = build_predictor(classifier, plan, "auto")
    hottest: list[float] = []
    with PhotoLoader(classifier.load_spec(), num_workers=1) as loader:
        for batch in loader.batches([labelled_ref(photo) for photo in photos], predictor.batch_size, lambda: False):
            maps = predictor.predict([sample.pixels for sample in batch.samples]).maps[method]
            hottest += maps.max(axis=(1, 2)).tolist()
    return np.array(hottest)


def _compare_pairs(good: Doubles, defective: Doubles) -> float:
    """Return the share of pairs with the defective photo hotter than the good one, the ROC AUC; ties count half."""
    difference = defective[:, None] - good
    return float(((difference > 0) + (difference == 0) / 2).mean())


if __name__ == "__main__":
    with exit_on_error("evidence"):
        evidence_command()
