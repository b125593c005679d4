"""The panels of an explanation: overlay, map, labels, heads and filmstrip. Each is drawn onto any canvas."""

import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from cmap import Colormap
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.patches import Rectangle

from pipeline.explain.explanation import Explanation
from pipeline.maps.geometry import scale_box
from pipeline.maps.methods import METHODS
from pipeline.overlays.draw import OverlayLook, draw_overlay, shown_range
from pipeline.records import Box, Floats

_BAR, _BEST_BAR, _MUTED, _FRAME = "#c3cad6", "#3b5bdb", "#5f6673", "#d5d9e0"
_BOX = "#00b894"
_BOX_LABEL: dict[str, Any] = {
    "fontsize": 6.5, "color": "white", "va": "bottom", "bbox": {"facecolor": _BOX, "pad": 1, "lw": 0}
}  # fmt: skip
_TITLE: dict[str, Any] = {"fontsize": 12, "fontweight": "bold"}
_CAPTION: dict[str, Any] = {"fontsize": 9, "color": _MUTED}
_LETTERS_PER_INCH = 8  # of a title
_LONGEST_STRIP = 8  # frames of the filmstrip side by side


@dataclass(frozen=True)
class Panel:
    """One part of the figures.

    Attributes:
        draw: draws it onto a figure, or onto a part of one.
        size: its best (width, height) in inches.
    """

    draw: Callable[[FigureBase, Explanation, OverlayLook], None]
    size: Callable[[Explanation], tuple[float, float]]


def _draw_overlay(canvas: FigureBase, explanation: Explanation, look: OverlayLook) -> None:
    """Draw the photo, and beside it the photo under its map."""
    sample = explanation.prediction.sample
    assert sample.photo is not None
    height, width = sample.photo.shape[:2]
    box = scale_box(explanation.box, (sample.width, sample.height), (width, height))
    attention = np.maximum(explanation.prediction.attention, 0)  # values below 0 speak against the label: no heat
    overlay = draw_overlay(sample.photo, attention, box, look)
    best = explanation.labels[0]
    is_other_label = explanation.versus or explanation.target not in (None, best)
    heat = f"; heat: {_name_target(explanation)}" if is_other_label else ""
    titles = (sample.ref.path, f"{best} ({_format_score(explanation.scores[0])}){heat}")
    for axes, picture, title in zip(canvas.subplots(1, 2), (sample.photo, overlay), titles, strict=True):
        _show_picture(axes, picture, extent=(0, sample.width, sample.height, 0))
        axes.set_title(_wrap_name(title, _LETTERS_PER_INCH * _photo_size(explanation)[0]), **_TITLE)
    for detection in explanation.detections:
        x0, y0, x1, y1 = detection.box
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=_BOX, linewidth=1.2))
        name = explanation.class_names[detection.label_id]
        axes.text(x0, y0, f" {name} {_format_score(detection.score)}", **_BOX_LABEL)


def _draw_map(canvas: FigureBase, explanation: Explanation, look: OverlayLook) -> None:
    """Draw the map alone, with a colour bar on the scale of the overlay."""
    attention = explanation.prediction.attention
    axes = canvas.subplots()
    image = _show_map(axes, attention, explanation.box, look)
    width, _ = _map_size(explanation.box, 1)
    bar = axes.inset_axes((1 + 0.03 / width, 0, 0.05 / width, 1))  # as high as the map
    beyond = (bool(attention.min() < image.norm.vmin), bool(attention.max() > image.norm.vmax))
    ends = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    canvas.colorbar(image, cax=bar, extend=ends[beyond])
    target = f": {_name_target(explanation)}" if explanation.target else ""
    letters = _LETTERS_PER_INCH * _map_panel_size(explanation)[0]
    axes.set_title(_wrap_name(f"Map ({explanation.method}{target})", letters), **_TITLE)
    if look.span:
        low, high = look.span
        axes.set_xlabel(f"colours from {low:.3g} to {high:.3g}, the same for all photos", **_CAPTION)


def _draw_labels(canvas: FigureBase, explanation: Explanation, _: OverlayLook) -> None:
    """Draw the scores of the best labels as bars, the best on top."""
    axes, scores = canvas.subplots(), explanation.scores
    rows = range(len(scores))
    bars = axes.barh(rows, scores, color=[_BEST_BAR, *[_BAR] * (len(scores) - 1)], height=0.45)
    axes.bar_label(bars, [_format_score(score) for score in scores], padding=4)
    axes.set_yticks(rows, [_wrap_name(label, 30) for label in explanation.labels])
    axes.set(xlim=(0, 1.15), ylim=(len(scores) - 0.5, -0.5), xticks=[])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    canvas.suptitle(f"Top {len(scores)} labels", **_TITLE)


def _draw_heads(canvas: FigureBase, explanation: Explanation, look: OverlayLook) -> None:
    """Draw each head's attention to the patches."""
    heads = explanation.heads
    frames = {f"head {number}  {head.sum():.0%}": head for number, head in enumerate(heads, start=1)}
    _draw_frames(canvas, frames, _head_columns(explanation), explanation, look)
    layers = f"{explanation.layer} of {len(explanation.filmstrip)}"
    canvas.suptitle(f"Heads of layer {layers}{_name_window(explanation)}", **_TITLE)
    canvas.supxlabel("percent of attention on patches; each on its own scale", **_CAPTION)


def _draw_filmstrip(canvas: FigureBase, explanation: Explanation, look: OverlayLook) -> None:
    """Draw the map from the first layer alone, from the first two, and so on."""
    depths = range(1, len(explanation.filmstrip) + 1)
    if METHODS[explanation.film_method].reads_last_layer:
        names, caption = [f"layer {depth}" for depth in depths], "each layer's own"
    else:
        names = ["layer 1", *(f"layers 1 to {depth}" for depth in depths[1:])]
        caption = "the map of the first layers alone"
    frames = dict(zip(names, explanation.filmstrip, strict=True))
    _draw_frames(canvas, frames, _film_columns(explanation), explanation, look)
    canvas.suptitle(f"Layer by layer ({explanation.film_method}){_name_window(explanation)}", **_TITLE)
    canvas.supxlabel(f"{caption}; each on its own scale", **_CAPTION)


def _name_window(explanation: Explanation) -> str:
    """Return the place of the window shown, for a title; empty for a whole photo."""
    if explanation.window is None:
        return ""
    left, top, right, bottom = explanation.window
    return f", window {left}, {top} to {right}, {bottom}"


def _draw_frames(
    canvas: FigureBase, frames: dict[str, Floats], columns: int, explanation: Explanation, look: OverlayLook
) -> None:
    """Draw maps by title, in rows of `columns`, each on its own scale."""
    look = replace(look, span=None)
    rows = math.ceil(len(frames) / columns)
    for position, (title, values) in enumerate(frames.items(), start=1):
        axes = canvas.add_subplot(rows, columns, position)
        _show_map(axes, values, explanation.attention_box, look)
        axes.set_title(title, fontsize=9, color=_MUTED)


def _show_map(axes: Axes, values: Floats, box: Box, look: OverlayLook) -> Any:
    """Show a map with sharp cells over its part of the photo, in the overlay's colours."""
    low, high = shown_range(np.maximum(values, 0), look)
    x0, y0, x1, y1 = box
    colours = Colormap(look.colormap).to_mpl()
    options = {"cmap": colours, "vmin": low, "vmax": high, "interpolation": "nearest"}
    return _show_picture(axes, values, extent=(x0, x1, y1, y0), **options)


def _show_picture(axes: Axes, picture: Any, **options: Any) -> Any:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color=_FRAME)
    return axes.imshow(picture, **options)


def _name_target(explanation: Explanation) -> str:
    return f"{explanation.target} rather than {explanation.versus}" if explanation.versus else f"{explanation.target}"


def _format_score(score: float) -> str:
    return "< 0.001" if score < 0.0005 else f"{score:.3f}"


def _wrap_name(name: str, width: float) -> str:
    """Replace unprintable letters, and wrap to lines of `width` letters, at most three."""
    shown = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in " ".join(name.split())
    )
    return "\n".join(textwrap.wrap(shown, int(width), max_lines=3, placeholder=" …"))


def _head_columns(explanation: Explanation) -> int:
    """Return the columns of a grid of heads, near to a square."""
    return math.ceil(math.sqrt(len(explanation.heads)))


def _film_columns(explanation: Explanation) -> int:
    """Return the columns of the filmstrip, with rows of about equal length."""
    frames = len(explanation.filmstrip)
    return math.ceil(frames / math.ceil(frames / _LONGEST_STRIP))


def _scale_to_side(width: float, height: float, side: float) -> tuple[float, float]:
    """Scale a rectangle up or down to a longest side of `side`."""
    scale = side / max(width, height)
    return width * scale, height * scale


def _photo_size(explanation: Explanation) -> tuple[float, float]:
    """Return the size of the photo in inches, with room for its title."""
    sample = explanation.prediction.sample
    width, height = _scale_to_side(sample.width, sample.height, 4.5)
    return max(width, 2.5), height


def _map_size(box: Box, side: float) -> tuple[float, float]:
    """Return the size of a map over this part of the photo, its longest side of `side` inches."""
    x0, y0, x1, y1 = box
    return _scale_to_side(x1 - x0, y1 - y0, side)


def _overlay_panel_size(explanation: Explanation) -> tuple[float, float]:
    width, height = _photo_size(explanation)
    return 2 * width + 0.4, height + 0.5


def _labels_panel_size(_: Explanation) -> tuple[float, float]:
    return 4.8, 3.6


def _map_panel_size(explanation: Explanation) -> tuple[float, float]:
    width, height = _map_size(explanation.box, 4.5)
    return max(width, 1.0) + 1.1, height + 0.5


def _heads_panel_size(explanation: Explanation) -> tuple[float, float]:
    return _frames_size(explanation, len(explanation.heads), _head_columns(explanation))


def _filmstrip_panel_size(explanation: Explanation) -> tuple[float, float]:
    return _frames_size(explanation, len(explanation.filmstrip), _film_columns(explanation))


def _frames_size(explanation: Explanation, count: int, columns: int) -> tuple[float, float]:
    width, height = _map_size(explanation.attention_box, 1.6)
    full_width = columns * (max(width, 1.0) + 0.2)
    return max(full_width, 3.6), math.ceil(count / columns) * (height + 0.4) + 0.7


PANELS = {
    "overlay": Panel(_draw_overlay, _overlay_panel_size),
    "labels": Panel(_draw_labels, _labels_panel_size),
    "map": Panel(_draw_map, _map_panel_size),
    "heads": Panel(_draw_heads, _heads_panel_size),
    "filmstrip": Panel(_draw_filmstrip, _filmstrip_panel_size),
}
