"""Panels of a figure, and everything shown in them."""

from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from pipeline.explain.panels import PANELS
from pipeline.overlays.draw import OverlayLook


def shown_images(figure):
    """Return the images of a figure in reading order, each with its title."""
    return [(np.asarray(axes.get_images()[0].get_array()), axes.get_title()) for axes in axes_with_images(figure)]


def axes_with_images(figure):
    return [axes for axes in figure.get_axes() if axes.get_images()]


def draw_panel(name, explanation):
    """Draw one panel alone."""
    figure = Figure()
    PANELS[name].draw(figure, explanation, OverlayLook())
    return figure


def shorten(explanation):
    """Keep one head and one frame: drawn quickly."""
    return replace(explanation, heads=explanation.heads[:1], filmstrip=explanation.filmstrip[-1:])


def texts_of(figure):
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_parse_math"))]
