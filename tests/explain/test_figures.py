"""The figures as a whole, and their files."""

from dataclasses import replace

import numpy as np
import pytest
from cmap import Colormap
from PIL import Image

from pipeline.explain.figures import draw_figures, write_figures
from pipeline.overlays.draw import OverlayLook
from tests.explain.drawings import axes_with_images, shorten, shown_images, texts_of

FIGURES = ["overlay", "map", "labels", "heads", "filmstrip", "all"]


@pytest.fixture(scope="module")
def figures(explained):
    return draw_figures(explained, OverlayLook())


def test_every_figure_is_there(figures):
    assert sorted(figures) == sorted(FIGURES)


def test_all_panels_in_one_figure(figures, explained):
    shown = shown_images(figures["all"])
    assert len(shown) == 2 + 1 + 4 + 3
    assert {title for _, title in shown} >= {"photo.jpg", "Map (rollout)", "layers 1 to 3"}
    names = texts_of(figures["all"])
    assert set(explained.labels) <= set(names)


def test_planted_hot_cell_glows_in_the_pictures(explained, tmp_path):
    """In the pixels of the saved PNGs, at its position, in the colour map of the settings."""
    hot = np.zeros((6, 6), np.float32)
    hot[1, 4] = 1
    prediction = replace(explained.prediction, attention=hot)
    planted = replace(explained, prediction=prediction, heads=np.stack([hot, hot.T]), filmstrip=hot[None])
    look = OverlayLook(colormap="viridis")
    cold, glowing = (tuple(round(255 * part) for part in Colormap("viridis")(value).rgba[:3]) for value in (0.0, 1.0))
    files, figures = write_figures(planted, look, tmp_path), draw_figures(planted, look)
    for name, index in (("map", 0), ("heads", 0), ("heads", 1), ("filmstrip", 0), ("all", 2)):
        figure = figures[name]
        figure.savefig(tmp_path / "again", format="png", dpi=120)  # which lays it out
        axes = axes_with_images(figure)[index]
        values = np.asarray(axes.get_images()[0].get_array())
        with Image.open(files[name]) as picture:
            for row, column in np.ndindex(6, 6):
                middle = ((column + 0.5) * 3000 / 6, (row + 0.5) * 2000 / 6)
                x, y = axes.transData.transform(middle) * 120 / figure.dpi
                pixel = picture.convert("RGB").getpixel((int(x), picture.height - 1 - int(y)))
                assert pixel == pytest.approx(glowing if values[row, column] else cold, abs=1), (name, row, column)


def test_names_are_shown_letter_by_letter(explained, tmp_path):
    """Names are neither formulas nor escapes, and make no lines; a broken formula could not even be drawn."""
    odd = ("$\\frac{a$ and $x_1$", "<script>alert(1)</script>", "_a_ & b", "tab\tand\nline", "bell\x07\udcff")
    ref = replace(explained.prediction.sample.ref, path="$\\frac{1.jpg")
    prediction = replace(explained.prediction, sample=replace(explained.prediction.sample, ref=ref))
    named = shorten(replace(explained, labels=odd, prediction=prediction))
    write_figures(named, OverlayLook(), tmp_path)
    figures = draw_figures(named, OverlayLook())
    shown = [*odd[:3], "tab and line", "bell\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"]
    for name in ("labels", "all"):
        assert set(shown) <= set(texts_of(figures[name]))
    assert [title for _, title in shown_images(figures["overlay"])] == [
        "$\\frac{1.jpg",
        f"{odd[0]} ({named.scores[0]:.3f})",
    ]


def test_a_font_with_more_letters_is_used_if_there_is_one(explained, monkeypatch):
    monkeypatch.setattr("matplotlib.font_manager.get_font_names", lambda: ["DejaVu Sans", "Noto Sans CJK JP", "Other"])
    (axes,) = draw_figures(shorten(explained), OverlayLook())["labels"].get_axes()
    assert axes.get_yticklabels()[0].get_fontfamily() == ["DejaVu Sans", "Noto Sans CJK JP"]


def test_letters_missing_from_all_fonts_are_reported(explained, tmp_path, caplog):
    unknown = replace(explained, labels=("\N{CUNEIFORM SIGN A}",), scores=(1.0,))
    write_figures(shorten(unknown), OverlayLook(), tmp_path)
    assert "letters missing from all fonts here" in caplog.text
