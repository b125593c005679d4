"""An explanation as figures: five, each a PNG of its own, and one that has them all."""

import io
import logging
import math
import textwrap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cmap import Colormap
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase  # not pyplot: no window system, no global state
from matplotlib.layout_engine import ConstrainedLayoutEngine

from pipeline.atomic_files import atomic_write_path, cannot_write
from pipeline.explain.explanation import Explanation
from pipeline.figures import figure_text_style
from pipeline.overlays.draw import OverlayLook, draw_overlay, shown_range
from pipeline.records import Floats

log = logging.getLogger(__name__)

_DPI = 120
_MARGIN = 0.12  # inches around every part
_BAR, _BEST_BAR, _MUTED, _FRAME = "#c3cad6", "#3b5bdb", "#5f6673", "#d5d9e0"
_TITLE: dict[str, Any] = {"fontsize": 12, "fontweight": "bold"}
_CAPTION: dict[str, Any] = {"fontsize": 9, "color": _MUTED}
_LETTERS_AN_INCH = 8  # of a title
_MOST_FRAMES = 8  # of the filmstrip, side by side
_ROWS = (("overlay", "map"), ("labels", "heads"), ("filmstrip",))  # of the figure that has them all


@dataclass(frozen=True)
class Panel:
    """One figure.

    Attributes:
        draw: onto a figure, or onto a part of one.
        size: (width, height) in inches that suits what it shows.
    """

    draw: Callable[[FigureBase, Explanation, OverlayLook], None]
    size: Callable[[Explanation], tuple[float, float]]


def write_figures(explanation: Explanation, look: OverlayLook, out: Path) -> dict[str, Path]:
    """Write every figure to a folder as a PNG. Those of an earlier photo are replaced, other files left alone.

    Returns:
        The files by the names of `draw_figures`.

    Raises:
        StoreError: the disk is full or the folder can't be written.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pictures = {name: _png(figure) for name, figure in draw_figures(explanation, look).items()}
    if any("missing from font" in str(warning.message) for warning in caught):
        log.warning("a name has letters that no font here has; install one, as fonts-noto-cjk for Chinese")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error
    for name, picture in pictures.items():
        with atomic_write_path(out / f"{name}.png", out) as temporary:
            temporary.write_bytes(picture)
    return {name: out / f"{name}.png" for name in pictures}


def draw_figures(explanation: Explanation, look: OverlayLook) -> dict[str, Figure]:
    """The `PANELS`, each as a figure, and `all` of them in one."""
    with figure_text_style():
        figures = {}
        for name, panel in PANELS.items():
            figures[name] = Figure(figsize=panel.size(explanation), layout=_layout())
            panel.draw(figures[name], explanation, look)
        return figures | {"all": _draw_all(explanation, look)}


def _draw_all(explanation: Explanation, look: OverlayLook) -> Figure:
    """Rows of one width, each as high as suits what is in it."""
    sizes = [[PANELS[name].size(explanation) for name in row] for row in _ROWS]
    widths = [[width for width, _ in row] for row in sizes]
    full_width = max(map(sum, widths))
    heights = [max(height for _, height in row) * full_width / sum(width for width, _ in row) for row in sizes]
    figure = Figure(figsize=(full_width, sum(heights)), layout=_layout())
    parts = figure.subfigures(len(_ROWS), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, row, row_widths in zip(parts, _ROWS, widths, strict=True):
        cells = part.subfigures(1, len(row), width_ratios=row_widths, squeeze=False)[0]
        for name, cell in zip(row, cells, strict=True):
            PANELS[name].draw(cell, explanation, look)
    return figure


def _layout() -> ConstrainedLayoutEngine:
    return ConstrainedLayoutEngine(w_pad=_MARGIN, h_pad=_MARGIN)


def _draw_overlay(canvas: FigureBase, explanation: Explanation, look: OverlayLook) -> None:
    sample = explanation.prediction.sample
    assert sample.photo is not None
    height, width = sample.photo.shape[:2]
    to_photo = np.tile([width / sample.width, height / sample.height], 2)
    x0, y0, x1, y1 = (np.array(explanation.box) * to_photo).tolist()
    attention = np.maximum(explanation.prediction.attention, 0)  # below is what speaks against a label: no heat
    overlay = draw_overlay(sample.photo, attention, (x0, y0, x1, y1), look)
    best = explanation.labels[0]
    other = explanation.versus or explanation.target not in (None, best)
    shows = f"; heat: {_explained(explanation)}" if other else ""
    titles = (sample.ref.path, f"{best} ({_score(explanation.scores[0])}){shows}")
    for axes, picture, title in zip(canvas.subplots(1, 2), (sample.photo, overlay), titles, strict=True):
        _show(axes, picture, extent=(0, sample.width, sample.height, 0))
        axes.set_title(_lines(title, _LETTERS_AN_INCH * _photo_size(explanation)[0]), **_TITLE)


def _draw_map(canvas: FigureBase, explanation: Explanation, look: OverlayLook) -> None:
    attention = explanation.prediction.attention
    axes = canvas.subplots()
    image = _show_map(axes, attention, explanation, look)
    width, _ = _map_size(explanation, 1)
    bar = axes.inset_axes((1 + 0.03 / width, 0, 0.05 / width, 1))  # as high as the map
    beyond = (bool(attention.min() < image.norm.vmin), bool(attention.max() > image.norm.vmax))
    ends = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    canvas.colorbar(image, cax=bar, extend=ends[beyond])
    why = f": {_explained(explanation)}" if explanation.target else ""
    letters = _LETTERS_AN_INCH * _map_panel_size(explanation)[0]
    axes.set_title(_lines(f"Map ({explanation.method}{why})", letters), **_TITLE)


def _explained(explanation: Explanation) -> str:
    return f"{explanation.target} rather than {explanation.versus}" if explanation.versus else f"{explanation.target}"


def _draw_labels(canvas: FigureBase, explanation: Explanation, _: OverlayLook) -> None:
    axes, scores = canvas.subplots(), explanation.scores
    places = range(len(scores))
    bars = axes.barh(places, scores, color=[_BEST_BAR, *[_BAR] * (len(scores) - 1)], height=0.45)
    axes.bar_label(bars, [_score(score) for score in scores], padding=4)
    axes.set_yticks(places, [_lines(label, 30) for label in explanation.labels])
    axes.set(xlim=(0, 1.15), ylim=(len(scores) - 0.5, -0.5), xticks=[])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    canvas.suptitle(f"Top {len(scores)} labels", **_TITLE)


def _draw_heads(canvas: FigureBase, explanation: Explanation, look: OverlayLook) -> None:
    names = [f"head {number}  {head.sum():.0%}" for number, head in enumerate(explanation.heads, start=1)]
    _draw_grid(canvas, explanation.heads, names, _head_columns(explanation), explanation, look)
    canvas.suptitle(f"Heads of layer {explanation.layer} of {len(explanation.filmstrip)}", **_TITLE)
    canvas.supxlabel("percent of attention on patches; each on its own scale", **_CAPTION)


def _draw_filmstrip(canvas: FigureBase, explanation: Explanation, look: OverlayLook) -> None:
    frames = explanation.filmstrip
    if explanation.film_method == "attention":
        names, what = [f"layer {layer}" for layer in range(1, len(frames) + 1)], "each layer's own"
    else:
        names = ["layer 1", *(f"layers 1 to {last}" for last in range(2, len(frames) + 1))]
        what = "the map of the first layers alone"
    _draw_grid(canvas, frames, names, _film_columns(explanation), explanation, look)
    canvas.suptitle(f"Layer by layer ({explanation.film_method})", **_TITLE)
    canvas.supxlabel(f"{what}; each on its own scale", **_CAPTION)


def _draw_grid(
    canvas: FigureBase, grids: Floats, names: Sequence[str], columns: int, explanation: Explanation, look: OverlayLook
) -> None:
    rows = math.ceil(len(grids) / columns)
    for place, (values, name) in enumerate(zip(grids, names, strict=True), start=1):
        axes = canvas.add_subplot(rows, columns, place)
        _show_map(axes, values, explanation, look)
        axes.set_title(name, fontsize=9, color=_MUTED)


def _show_map(axes: Axes, values: Floats, explanation: Explanation, look: OverlayLook) -> Any:
    """A map with one cell a patch, in the photo's proportions and the overlay's colours."""
    low, high = shown_range(np.maximum(values, 0), look.style)
    x0, y0, x1, y1 = explanation.box
    colours = Colormap(look.colormap).to_mpl()
    return _show(axes, values, extent=(x0, x1, y1, y0), cmap=colours, vmin=low, vmax=high, interpolation="nearest")


def _show(axes: Axes, picture: Any, **options: Any) -> Any:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color=_FRAME)
    return axes.imshow(picture, **options)


def _head_columns(explanation: Explanation) -> int:
    return math.ceil(math.sqrt(len(explanation.heads)))


def _film_columns(explanation: Explanation) -> int:
    frames = len(explanation.filmstrip)
    return math.ceil(frames / math.ceil(frames / _MOST_FRAMES))


def _within(width: float, height: float, side: float) -> tuple[float, float]:
    """The same proportions, as large as fits a square."""
    scale = side / max(width, height)
    return width * scale, height * scale


def _photo_size(explanation: Explanation) -> tuple[float, float]:
    """Of the photo as it is drawn, with room for its title."""
    sample = explanation.prediction.sample
    width, height = _within(sample.width, sample.height, 4.5)
    return max(width, 2.5), height


def _map_size(explanation: Explanation, side: float) -> tuple[float, float]:
    x0, y0, x1, y1 = explanation.box
    return _within(x1 - x0, y1 - y0, side)


def _overlay_size(explanation: Explanation) -> tuple[float, float]:
    width, height = _photo_size(explanation)
    return 2 * width + 0.4, height + 0.5


def _map_panel_size(explanation: Explanation) -> tuple[float, float]:
    width, height = _map_size(explanation, 4.5)
    return max(width, 1.0) + 1.1, height + 0.5


def _grid_size(explanation: Explanation, count: int, columns: int) -> tuple[float, float]:
    width, height = _map_size(explanation, 1.6)
    full_width = columns * (max(width, 1.0) + 0.2)
    return max(full_width, 3.6), math.ceil(count / columns) * (height + 0.4) + 0.7


PANELS = {
    "overlay": Panel(_draw_overlay, _overlay_size),
    "labels": Panel(_draw_labels, lambda _: (4.8, 3.6)),
    "map": Panel(_draw_map, _map_panel_size),
    "heads": Panel(_draw_heads, lambda it: _grid_size(it, len(it.heads), _head_columns(it))),
    "filmstrip": Panel(_draw_filmstrip, lambda it: _grid_size(it, len(it.filmstrip), _film_columns(it))),
}


def _score(score: float) -> str:
    return "< 0.001" if score < 0.0005 else f"{score:.3f}"


def _lines(name: str, width: float) -> str:
    """A name as it can be shown: printable letters, in lines of so many, three at most."""
    shown = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in " ".join(name.split())
    )
    return "\n".join(textwrap.wrap(shown, int(width), max_lines=3, placeholder=" …"))


def _png(figure: Figure) -> bytes:
    png = io.BytesIO()
    with figure_text_style():
        figure.savefig(png, format="png", dpi=_DPI)
    return png.getvalue()
