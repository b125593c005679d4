"""A trust report as one picture: curves, areas and pointing, baselines in grey."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure  # not pyplot: no window system, no global state

from pipeline.trust.baselines import BASELINES
from pipeline.trust.result import TrustReport

_GREYS = ("#9aa0a8", "#6d737c", "#c3c7cd")  # of the baselines, with their dashes
_DASHES = (":", "--", "-.")

LineStyles = Mapping[str, Mapping[str, Any]]  # by method: options of matplotlib's plot


def draw_figure(report: TrustReport, file: Path) -> None:
    """Draw the panels and write them as a PNG."""
    styles = _choose_line_styles(report)
    has_pointing = report.pointed > 0
    figure = Figure(figsize=(19 if has_pointing else 14.5, 5.4), layout="constrained")
    panels = figure.subplots(1, 4 if has_pointing else 3)
    _draw_curves(panels[0], report, "deletion_blur", styles, "Deletion: lower is better")
    panels[0].set_xlabel("patches blurred, the hottest first")
    _draw_curves(panels[1], report, "insertion_blur", styles, "Insertion: higher is better")
    panels[1].set_xlabel("patches put back, the hottest first")
    panels[0].legend(fontsize=8, loc="lower left")
    _draw_estimates(
        panels[2], report, "faithfulness", styles, f"Insertion - deletion, both fills, 95%{_explain_bold(report)}"
    )
    if has_pointing:
        _draw_estimates(panels[3], report, "hit_grid", styles, f"Pointing game, {report.pointed} photos, 95%")
        panels[3].set_xlim(0, 1.02)
    figure.savefig(file, format="png", dpi=100)


def _explain_bold(report: TrustReport) -> str:
    return "; bold: beats every baseline" if report.trusted else ""


def _choose_line_styles(report: TrustReport) -> LineStyles:
    """Give each method a colour, and each baseline a grey and dashes."""
    methods = {method: {"color": colormaps["tab10"](index)} for index, method in enumerate(report.seconds)}
    greys = zip(BASELINES, _GREYS, _DASHES, strict=True)
    return methods | {baseline: {"color": grey, "linestyle": dashes} for baseline, grey, dashes in greys}


def _draw_curves(axes: Any, report: TrustReport, name: str, styles: LineStyles, title: str) -> None:
    """Draw mean scores over the photos, on an axis with the measured shares of patches at even distances."""
    for method, style in styles.items():
        curves = [measured.curves[name] for measured in report.maps if measured.method == method]
        shares = curves[0].shares
        axes.plot(shares, np.mean([curve.scores for curve in curves], axis=0), label=method, linewidth=1.6, **style)
    axes.set_xscale("symlog", linthresh=shares[shares > 0][0])
    axes.set(title=title, ylabel="mean probability of the label", ylim=(0, 1.02), xlim=(0, 1), xticks=shares)
    axes.set_xticks([], minor=True)
    axes.set_xticklabels([f"{share:.3g}%" for share in 100 * shares])


def _draw_estimates(axes: Any, report: TrustReport, name: str, styles: LineStyles, title: str) -> None:
    """Draw a dot and an interval for each method, the best on top, those to trust in bold; a line at the baselines."""
    order = sorted(styles, key=lambda method: report.estimates[method][name].value)
    for row, method in enumerate(order):
        estimate, color = report.estimates[method][name], styles[method]["color"]
        axes.plot([estimate.low, estimate.high], [row, row], color=color, linewidth=3, alpha=0.5)
        axes.plot(estimate.value, row, "o", color=color)
    limit = max(report.estimates[baseline][name].value for baseline in BASELINES)
    axes.axvline(limit, color="#9aa0a8", linewidth=1, linestyle=":")
    axes.set(yticks=range(len(order)), yticklabels=order, title=title)
    for tick in axes.get_yticklabels():
        tick.set_fontweight("bold" if tick.get_text() in report.trusted else "normal")
    axes.grid(axis="x", alpha=0.3)
