"""An explanation -> figures: one PNG per panel, and `all.png` with all panels."""

import io
import logging
import warnings
from pathlib import Path

from matplotlib.figure import Figure  # not pyplot: no window system, no global state
from matplotlib.layout_engine import ConstrainedLayoutEngine

from pipeline.atomic_files import atomic_write_path, cannot_write
from pipeline.explain.explanation import Explanation
from pipeline.explain.panels import PANELS
from pipeline.figures import figure_text_style
from pipeline.overlays.draw import OverlayLook

log = logging.getLogger(__name__)

_DPI = 120
_MARGIN = 0.12  # inches around every part
_ROWS = (("overlay", "map"), ("labels", "heads"), ("filmstrip",))  # of `all`


def write_figures(explanation: Explanation, look: OverlayLook, out: Path) -> dict[str, Path]:
    """Write every figure to a folder as a PNG. Figures of an earlier photo are replaced, other files stay.

    Returns:
        The files by the names of `draw_figures`.

    Raises:
        StoreError: the disk is full or the folder can't be written.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pictures = {name: _render_png(figure) for name, figure in draw_figures(explanation, look).items()}
    if any("missing from font" in str(warning.message) for warning in caught):
        log.warning("a name has letters missing from all fonts here; install one, such as fonts-noto-cjk for Chinese")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error
    for name, picture in pictures.items():
        with atomic_write_path(out / f"{name}.png", out) as temporary:
            temporary.write_bytes(picture)
    return {name: out / f"{name}.png" for name in pictures}


def draw_figures(explanation: Explanation, look: OverlayLook) -> dict[str, Figure]:
    """Draw each of the `PANELS` as a figure, and `all` of them in one."""
    with figure_text_style():
        figures = {}
        for name, panel in PANELS.items():
            figures[name] = Figure(figsize=panel.size(explanation), layout=_new_layout())
            panel.draw(figures[name], explanation, look)
        return figures | {"all": _draw_all(explanation, look)}


def _draw_all(explanation: Explanation, look: OverlayLook) -> Figure:
    """Draw the panels in rows of equal width; the height of a row follows from its panels."""
    sizes = [[PANELS[name].size(explanation) for name in row] for row in _ROWS]
    widths = [[width for width, _ in row] for row in sizes]
    full_width = max(map(sum, widths))
    heights = [max(height for _, height in row) * full_width / sum(width for width, _ in row) for row in sizes]
    figure = Figure(figsize=(full_width, sum(heights)), layout=_new_layout())
    parts = figure.subfigures(len(_ROWS), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, row, row_widths in zip(parts, _ROWS, widths, strict=True):
        cells = part.subfigures(1, len(row), width_ratios=row_widths, squeeze=False)[0]
        for name, cell in zip(row, cells, strict=True):
            PANELS[name].draw(cell, explanation, look)
    return figure


def _new_layout() -> ConstrainedLayoutEngine:
    return ConstrainedLayoutEngine(w_pad=_MARGIN, h_pad=_MARGIN)


def _render_png(figure: Figure) -> bytes:
    png = io.BytesIO()
    with figure_text_style():
        figure.savefig(png, format="png", dpi=_DPI)
    return png.getvalue()
