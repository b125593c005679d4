"""A measurement of trust as one picture: curves, areas and pointing, baselines in grey."""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.trust.baselines import BASELINES
from pipeline.trust.result import TrustReport

_GREY = ("#9aa0a8", "#6d737c", "#c3c7cd")
_STYLES = (":", "--", "-.")


def draw_figure(trust: TrustReport, file: Path) -> None:
    """Draw the panels and write them as a PNG."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure  # not pyplot: no window system, no global state

    colours = {method: colormaps["tab10"](place) for place, method in enumerate(trust.seconds)}
    looks: dict[str, dict[str, Any]] = {method: {"color": colour} for method, colour in colours.items()}
    for baseline, grey, style in zip(BASELINES, _GREY, _STYLES, strict=True):
        looks[baseline] = {"color": grey, "linestyle": style}
    has_pointing = trust.pointed > 0
    figure = Figure(figsize=(19 if has_pointing else 14.5, 5.4), layout="constrained")
    panels = figure.subplots(1, 4 if has_pointing else 3)
    _draw_curves(panels[0], trust, "deletion_blur", looks, "Deletion: lower is better")
    panels[0].set_xlabel("patches blurred, those that count most first")
    _draw_curves(panels[1], trust, "insertion_blur", looks, "Insertion: higher is better")
    panels[1].set_xlabel("patches put back, those that count most first")
    panels[0].legend(fontsize=8, loc="lower left")
    _draw_estimates(panels[2], trust, "faithfulness", looks, "Insertion - deletion, both fills, 95%")
    if has_pointing:
        _draw_estimates(panels[3], trust, "hit_grid", looks, f"Pointing game, {trust.pointed} photos, 95%")
        panels[3].set_xlim(0, 1.02)
    figure.savefig(file, format="png", dpi=100)


def _draw_curves(axes: Any, trust: TrustReport, name: str, looks: dict[str, dict[str, Any]], title: str) -> None:
    """Mean scores over the photos, the shares of patches as close as they were measured."""
    for method, look in looks.items():
        curves = [one.curves[name] for one in trust.maps if one.method == method]
        shares = curves[0].shares
        axes.plot(shares, np.mean([curve.scores for curve in curves], axis=0), label=method, linewidth=1.6, **look)
    axes.set_xscale("symlog", linthresh=shares[shares > 0][0])
    axes.set(title=title, ylabel="mean probability of the label", ylim=(0, 1.02), xlim=(0, 1), xticks=shares)
    axes.set_xticks([], minor=True)
    axes.set_xticklabels([f"{share:.3g}%" for share in 100 * shares])


def _draw_estimates(axes: Any, trust: TrustReport, name: str, looks: dict[str, dict[str, Any]], title: str) -> None:
    """One dot a method with its interval, best on top."""
    order = sorted(looks, key=lambda method: trust.estimates[method][name].value)
    for place, method in enumerate(order):
        found = trust.estimates[method][name]
        axes.plot([found.low, found.high], [place, place], color=looks[method]["color"], linewidth=3, alpha=0.5)
        axes.plot(found.value, place, "o", color=looks[method]["color"])
    axes.axvline(max(trust.estimates[one][name].high for one in BASELINES), color="#9aa0a8", linewidth=1, linestyle=":")
    axes.set(yticks=range(len(order)), yticklabels=order, title=title)
    axes.grid(axis="x", alpha=0.3)
