"""Each panel shows the numbers of the explanation."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.explain.config import ExplainConfig
from pipeline.explain.explain import explain
from pipeline.explain.figures import draw_figures
from pipeline.overlays.draw import OverlayLook, draw_overlay
from tests.explain.drawings import axes_with_images, draw_panel, shown_images, texts_of


@pytest.fixture(scope="module")
def figures(explained):
    return draw_figures(explained, OverlayLook())


def test_heads_are_a_panel_each(figures, explained):
    shown = shown_images(figures["heads"])
    assert len(shown) == 4
    for number, ((values, title), head) in enumerate(zip(shown, explained.heads, strict=True), start=1):
        np.testing.assert_array_equal(values, head)
        assert title == f"head {number}  {head.sum():.0%}"
    assert "Heads of layer 3 of 3" in texts_of(figures["heads"])


@pytest.mark.parametrize(
    ("count", "shape"), [(1, (1, 1)), (3, (2, 2)), (6, (2, 3)), (12, (3, 4)), (16, (4, 4)), (20, (4, 5))]
)
def test_heads_are_laid_out_near_square(explained, count, shape):
    heads = np.random.default_rng(0).random((count, 6, 6), dtype=np.float32)
    figure = draw_panel("heads", replace(explained, heads=heads))
    assert {axes.get_subplotspec().get_gridspec().get_geometry() for axes in figure.get_axes()} == {shape}
    assert len(shown_images(figure)) == count


def test_filmstrip_ends_with_the_map(figures, explained):
    shown = shown_images(figures["filmstrip"])
    assert [title for _, title in shown] == ["layer 1", "layers 1 to 2", "layers 1 to 3"]
    np.testing.assert_array_equal(shown[-1][0], explained.prediction.attention)
    np.testing.assert_array_equal(shown_images(figures["map"])[0][0], explained.prediction.attention)
    assert np.abs(shown[0][0] - shown[1][0]).max() > 1e-3


@pytest.mark.parametrize(("count", "shape"), [(8, (1, 8)), (12, (2, 6)), (24, (3, 8)), (32, (4, 8))])
def test_filmstrip_of_a_deep_model_is_wrapped(explained, count, shape):
    frames = np.random.default_rng(0).random((count, 6, 6), dtype=np.float32)
    figure = draw_panel("filmstrip", replace(explained, filmstrip=frames))
    assert {axes.get_subplotspec().get_gridspec().get_geometry() for axes in figure.get_axes()} == {shape}


def test_photo_beside_its_overlay(figures, explained):
    prediction = explained.prediction
    photo = prediction.sample.photo
    (shown, name), (overlay, title) = shown_images(figures["overlay"])
    np.testing.assert_array_equal(shown, photo)
    height, width = photo.shape[:2]
    expected = draw_overlay(photo, prediction.attention, (0, 0, width, height), OverlayLook())
    np.testing.assert_array_equal(overlay, np.asarray(expected))
    assert name == "photo.jpg"
    assert title == f"{explained.labels[0]} ({explained.scores[0]:.3f})"


def test_on_one_scale_map_and_overlay_show_its_numbers_and_frames_their_own(explained):
    photo = explained.prediction.sample.photo
    look = OverlayLook(span=(0.0, 40.0))
    figures = draw_figures(explained, look)
    (axes,) = axes_with_images(figures["map"])
    assert axes.get_images()[0].get_clim() == (0, 40)
    assert axes.get_xlabel() == "colours from 0 to 40, the same for all photos"
    _, (overlay, _) = shown_images(figures["overlay"])
    np.testing.assert_allclose(overlay.astype(float), photo, atol=8)  # far below the hottest, so nearly the photo
    for name in ("heads", "filmstrip"):
        assert all(axes.get_images()[0].get_clim()[1] < 1 for axes in axes_with_images(figures[name]))


def test_bars_are_as_long_as_the_scores(figures, explained):
    (axes,) = figures["labels"].get_axes()
    assert [label.get_text() for label in axes.get_yticklabels()] == list(explained.labels)
    assert [bar.get_width() for bar in axes.patches] == list(explained.scores)
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the best is on top"


def test_fewer_labels_than_five(tiny_vit, photo):
    explanation = explain(ExplainConfig(image=photo, model=str(tiny_vit)))
    assert len(explanation.labels) == 3
    assert "Top 3 labels" in texts_of(draw_panel("labels", explanation))


def test_frames_of_attention_are_single_layers(explained):
    assert explained.film_method == "rollout"
    names = {title for _, title in shown_images(draw_panel("filmstrip", replace(explained, film_method="attention")))}
    assert names == {"layer 1", "layer 2", "layer 3"}


@pytest.mark.parametrize("name", ["heads", "filmstrip", "map"])
def test_maps_have_the_proportions_of_the_photo(figures, name):
    for axes in axes_with_images(figures[name]):
        assert tuple(axes.get_images()[0].get_extent()) == (0, 3000, 2000, 0)
        assert axes.get_aspect() == 1


def test_maps_cover_the_part_seen_by_the_model(tiny_checkpoint, photo):
    """DINOv2's image processor crops the centre: 48 of 81 x 54 pixels."""
    explanation = explain(ExplainConfig(image=photo, model=str(tiny_checkpoint("dinov2"))))
    (axes,) = axes_with_images(draw_panel("map", explanation))
    x0, x1, y1, y0 = axes.get_images()[0].get_extent()
    assert (x0, y0, x1, y1) == pytest.approx((3000 * 16 / 81, 2000 * 3 / 54, 3000 * 64 / 81, 2000 * 51 / 54), abs=1)


def test_long_names_are_wrapped_and_cut(explained):
    named = replace(explained, labels=("word " * 60, "x" * 500, *explained.labels[2:]))
    shown = [label.get_text() for label in draw_panel("labels", named).get_axes()[0].get_yticklabels()[:2]]
    for name in (*shown, shown_images(draw_panel("overlay", named))[1][1]):
        lines = name.split("\n")
        assert len(lines) == 3
        assert lines[-1].endswith("…")
        assert max(map(len, lines)) <= 40


def test_map_names_its_target_and_shows_no_heat_on_patches_against_it(explained):
    signed = np.linspace(-1, 1, 36, dtype=np.float32).reshape(6, 6)
    prediction = replace(explained.prediction, attention=signed)
    against = replace(explained, prediction=prediction, method="libragrad", target="dent", versus="_hole_")
    (axes,) = axes_with_images(draw_panel("map", against))
    assert axes.get_title() == "Map (libragrad: dent rather than _hole_)"
    title = shown_images(draw_panel("overlay", against))[1][1].replace("\n", " ")
    assert title.endswith("; heat: dent rather than _hole_")
    own = replace(explained, target=explained.labels[0])
    assert "heat" not in shown_images(draw_panel("overlay", own))[1][1]
    image = axes.get_images()[0]
    np.testing.assert_array_equal(image.get_array(), signed)
    assert image.get_clim()[0] == 0
    assert image.colorbar.extend == "both"
    height, width = prediction.sample.photo.shape[:2]
    expected = draw_overlay(prediction.sample.photo, np.maximum(signed, 0), (0, 0, width, height), OverlayLook())
    np.testing.assert_array_equal(shown_images(draw_panel("overlay", against))[1][0], np.asarray(expected))
