"""A trust report -> trust.json, trust.md, trust.parquet and trust.png."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.atomic_files import atomic_write_path
from pipeline.markdown import markdown_table
from pipeline.trust.baselines import BASELINES
from pipeline.trust.evidence import EvidenceReport
from pipeline.trust.figure import draw_figure
from pipeline.trust.result import MeasuredMap, TrustReport, format_estimate

# Columns of the two tables in trust.md: name of a metric -> header
_DELETION_COLUMNS = {
    "deletion_blur": "deletion, blur",
    "deletion_mean": "deletion, mean colour",
    "insertion_blur": "insertion, blur",
    "insertion_mean": "insertion, mean colour",
    "faithfulness": "insertion - deletion",
}
_POINTING_AND_SANITY_COLUMNS = {
    "hit_grid": "pointing game, cells",
    "hit_photo": "pixels",
    "mass_grid": "mass inside, cells",
    "mass_photo": "pixels",
    "average_precision_grid": "average precision, cells",
    "average_precision_photo": "pixels",
    "shuffled_weights": "likeness: shuffled weights",
    "other_label": "other label",
}


def write_results(report: TrustReport, settings: Mapping[str, Any], out: Path) -> None:
    """Write all files of a report into an existing folder.

    Raises:
        StoreError: the disk is full or the folder can't be written.
    """
    content = json.dumps(_report_as_json(report, settings), indent=1, allow_nan=False)
    markdown = _format_markdown(report, settings["model"])
    writers: dict[str, Callable[[Path], object]] = {
        "trust.json": lambda file: file.write_text(content, encoding="utf-8"),
        "trust.md": lambda file: file.write_text(markdown, encoding="utf-8"),
        "trust.parquet": lambda file: pq.write_table(_build_table(report.maps), file, compression="zstd"),
        "trust.png": lambda file: draw_figure(report, file),
    }
    for name, write_file in writers.items():
        with atomic_write_path(out / name, out) as temporary:
            write_file(temporary)


def _report_as_json(report: TrustReport, settings: Mapping[str, Any]) -> dict[str, Any]:
    methods = {
        method: {name: estimate.as_json() for name, estimate in estimates.items()}
        | {"seconds_per_image": report.seconds.get(method)}
        | {"gain_over": {other: gain.as_json() for other, gain in report.gains[method].items()}}
        for method, estimates in report.estimates.items()
    }
    return {
        "sentence": report.sentence,
        "photos": report.photos,
        "failed": report.failed,
        "pointed": report.pointed,
        "trusted": report.trusted,
        "undecided": report.undecided,
        "not_sane": report.failed_sanity_checks,
        "evidence": report.evidence and report.evidence.as_json(),
        "methods": methods,
        "settings": settings,
    }


def _format_markdown(report: TrustReport, model: str) -> str:
    """Format the sentence and all numbers: one row per method, with 95% intervals."""
    seconds = {method: f"{seconds:.3f}" for method, seconds in report.seconds.items()}
    parts = [
        report.sentence,
        f"Measured on {report.photos} photos with the model {model}; 95% intervals. Gains are photo by photo.",
        _format_table(report, _DELETION_COLUMNS, _format_gains(report) | {"s an image": seconds}),
        _format_table(report, _POINTING_AND_SANITY_COLUMNS, {}),
        *(_format_evidence(report.evidence) if report.evidence else []),
    ]
    return "\n\n".join(parts) + "\n"


def _format_evidence(evidence: EvidenceReport) -> list[str]:
    """Format the place of the evidence: sentences, then a row per class if defects are marked."""
    sentences = " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in evidence.sentences)
    if not evidence.outside:
        return [sentences]
    rows = [
        [one.label, str(one.photos), format_estimate(one.outside), f"{one.marked_share:.3f}"]
        for one in evidence.outside
    ]
    header = ["class", "photos", f"evidence outside the marks ({evidence.method})", "share of the photo inside them"]
    return [sentences, markdown_table(header, rows)]


def _format_gains(report: TrustReport) -> dict[str, dict[str, str]]:
    """Format the gains of methods over each baseline: header -> cells by method."""
    return {
        f"gain over {baseline}": {
            method: format_estimate(report.gains[method][baseline].mean) for method in report.seconds
        }
        for baseline in BASELINES
    }


def _format_table(
    report: TrustReport, columns: Mapping[str, str], more_columns: Mapping[str, Mapping[str, str]]
) -> str:
    """Format a table, without columns undefined for all methods.

    Args:
        report: the estimates.
        columns: name of a metric -> header.
        more_columns: header -> cells by method, empty for other methods.
    """
    names = [
        name
        for name in columns
        if any(not math.isnan(estimates[name].value) for estimates in report.estimates.values())
    ]
    rows = [
        [
            method,
            *(format_estimate(estimates[name]) for name in names),
            *(cells.get(method, "") for cells in more_columns.values()),
        ]
        for method, estimates in report.estimates.items()
    ]
    return markdown_table(["method", *(columns[name] for name in names), *more_columns], rows)


def _build_table(maps: Sequence[MeasuredMap]) -> pa.Table:
    """Build a table with one row per map: the photo, the metrics and the curves."""
    rows = [
        {
            "path": measured.path,
            "label": measured.label,
            "target": measured.target,
            "score": measured.score,
            "method": measured.method,
        }
        | {name: None if math.isnan(value) else value for name, value in measured.metrics().items()}
        | {f"{name}_curve": curve.scores for name, curve in measured.curves.items()}
        | {"curve_shares": next(iter(measured.curves.values())).shares}
        for measured in maps
    ]
    texts = [(name, pa.string()) for name in ("path", "label", "target", "method")]
    numbers = [(name, pa.float64()) for name in ("score", *maps[0].metrics())]
    curve_names = (*(f"{name}_curve" for name in maps[0].curves), "curve_shares")
    curves = [(name, pa.list_(pa.float64())) for name in curve_names]
    return pa.Table.from_pylist(rows, pa.schema([*texts, *numbers, *curves]))
