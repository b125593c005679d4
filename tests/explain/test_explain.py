"""One photo looked at closely: the numbers are those of a run, and the figures show them."""

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from cmap import Colormap
from matplotlib.figure import Figure
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

import jobs.cli
import pipeline
from pipeline.config import RunConfig
from pipeline.errors import ConfigError, PhotoError
from pipeline.explain.config import ExplainConfig
from pipeline.explain.explain import explain
from pipeline.explain.figures import PANELS, draw_figures, write_figures
from pipeline.maps.methods import BACKWARD, FORWARD
from pipeline.overlays.draw import OverlayLook, draw_overlay
from tests.helpers import reference
from tests.helpers.image_files import encoded, frames, smooth_photo, with_orientation
from tests.helpers.tiny import save_tiny_vit
from tests.helpers.tiny_models import TINY_MODELS, make_photos
from tests.helpers.web_server import WebServer

FAMILIES = list(TINY_MODELS)
FIGURES = ["overlay", "map", "labels", "heads", "filmstrip", "all"]


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """A landscape JPEG, large enough to be decoded at a reduced scale."""
    file = tmp_path_factory.mktemp("photos") / "photo.jpg"
    file.write_bytes(with_orientation(smooth_photo(3000, 2000), "JPEG", 6))
    return file


@pytest.fixture(scope="module")
def explained(photo, tiny_checkpoint):
    """One explanation for all tests that only look at it: 3 layers of 4 heads, a 6x6 grid, 7 labels."""
    return explain(ExplainConfig(image=photo, model=str(tiny_checkpoint("vit")), precision="fp32"))


def panels(figure):
    """What is shown in each panel that shows an image, in reading order, with its title."""
    return [(np.asarray(axes.get_images()[0].get_array()), axes.get_title()) for axes in image_axes(figure)]


def image_axes(figure):
    return [axes for axes in figure.get_axes() if axes.get_images()]


def draw(name, explanation):
    """One figure alone."""
    figure = Figure()
    PANELS[name].draw(figure, explanation, OverlayLook())
    return figure


def brief(explanation):
    """With one head and one frame: quickly drawn."""
    return replace(explanation, heads=explanation.heads[:1], filmstrip=explanation.filmstrip[-1:])


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_parse_math"))]


# The numbers


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"method": "article", "rescale": False},
        {"head_fusion": "max", "discard_ratio": 0.5, "exact_decode": True},
        {"input_size": (48, 80), "precision": "bf16"},
        {"method": "attention"},
        {"method": "rollout-norm"},
        {"method": "relevance"},
        {"method": "legrad", "target": "dent"},
        {"method": "libragrad", "target": "4", "versus": "hole"},
    ],
    ids=str,
)
def test_numbers_are_those_of_a_run(photo, tiny_checkpoint, tmp_path, settings):
    settings = {"model": str(tiny_checkpoint("vit")), "precision": "fp32"} | settings
    pipeline.run(RunConfig(input=photo.parent, out=tmp_path, workers=1, **settings))
    (row,) = pipeline.read_results(tmp_path).to_dict("records")
    found = explain(ExplainConfig(image=photo, **settings))
    np.testing.assert_array_equal(found.prediction.logits, row["logits"])
    np.testing.assert_array_equal(found.prediction.attention.ravel(), row["attention"])
    if found.film_method == found.method:
        np.testing.assert_array_equal(found.filmstrip[-1].ravel(), row["attention"])
    for label, column in ((found.target, "target"), (found.versus, "versus")):
        assert label == (None if pd.isna(row[column]) else row[column])
    assert found.filmstrip.shape == (3, row["grid_h"], row["grid_w"])
    assert list(found.labels) == list(row["top_labels"])
    np.testing.assert_allclose(found.scores, row["top_scores"], rtol=1e-6)
    assert found.box == pytest.approx(tuple(row["map_box"]))
    assert found.prediction.sample.content_hash == row["content_hash"]


def test_settings_shared_with_a_run_are_the_same():
    apart = {"input", "out", "method", "target"}  # a run may have several methods, and take targets from a CSV
    shared = set(ExplainConfig.model_fields) & set(RunConfig.model_fields) - apart
    assert {"model", "input_size", "head_fusion", "discard_ratio", "precision", "rescale"} <= shared
    for name in shared:
        one, other = ExplainConfig.model_fields[name], RunConfig.model_fields[name]
        assert (one.default, one.metadata) == (other.default, other.metadata), name
    assert RunConfig.model_fields["method"].default == (ExplainConfig.model_fields["method"].default,)


@pytest.mark.parametrize("name", FAMILIES)
def test_heads_and_filmstrip_of_every_family(name, tiny_checkpoint, tmp_path):
    case, folder, file = TINY_MODELS[name], tiny_checkpoint(name), tmp_path / "photo.png"
    make_photos(1)[0].save(file)
    eager = AutoModelForImageClassification.from_pretrained(folder, attn_implementation="eager")
    inputs = AutoImageProcessor.from_pretrained(folder, backend="pil")(Image.open(file), return_tensors="pt")
    with torch.no_grad():
        layers = [layer[0].double().numpy() for layer in eager(**inputs, output_attentions=True).attentions]
    for layer in (1, 2, -1):
        found = explain(ExplainConfig(image=file, model=str(folder), precision="fp32", layer=layer))
        rows = layers[layer - 1 if layer > 0 else layer][:, list(case.readout) or slice(None)].mean(
            axis=1
        )  # (heads, N)
        assert found.layer == (layer if layer > 0 else 3)
        np.testing.assert_allclose(found.heads.reshape(4, -1), rows[:, case.prefix :], atol=1e-5)
        np.testing.assert_allclose(found.heads.sum(axis=(1, 2)) + rows[:, : case.prefix].sum(axis=1), 1, atol=1e-5)
    for depth, frame in enumerate(found.filmstrip, start=1):
        expected = reference.rollout_map(layers[:depth], (6, 6), prefix=case.prefix, readout=case.readout)
        np.testing.assert_allclose(frame, expected, atol=1e-5)


def test_the_filmstrip_is_of_the_map_s_method_where_attention_is_all_it_needs(photo, tiny_vit):
    films = {
        method: explain(ExplainConfig(image=photo, model=str(tiny_vit), method=method)).film_method
        for method in (*FORWARD, *BACKWARD)
    }
    own = {"rollout", "article", "attention"}
    assert films == {method: method if method in own else "rollout" for method in films}


def test_labels_to_explain_are_checked(photo, tiny_vit):
    settings = {"image": photo, "model": str(tiny_vit)}
    with pytest.raises(ConfigError, match="target = clas-1: is no class of the model, which knows class-1") as caught:
        explain(ExplainConfig(method="legrad", target="clas-1", versus="nothing", **settings))
    assert len(caught.value.problems) == 2
    with pytest.raises(ConfigError, match="versus = 2: is the target itself"):
        explain(ExplainConfig(method="legrad", target="class-2", versus="2", **settings))
    likely = explain(ExplainConfig(**settings)).labels[0]
    with pytest.raises(ConfigError, match=f"versus = {likely}: is the photo's most likely label itself"):
        explain(ExplainConfig(method="legrad", versus=likely, **settings))
    with pytest.raises(ConfigError, match="rollout gives the same map whatever the label; add a --method"):
        ExplainConfig(target="class-2", **settings)


def test_family_without_rollout_is_refused(tmp_path, photo):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "swin"}))
    with pytest.raises(pipeline.VitrolloutError, match="'swin' has no attention rollout"):
        explain(ExplainConfig(image=photo, model=str(tmp_path)))


# The figures


@pytest.fixture(scope="module")
def figures(explained):
    return draw_figures(explained, OverlayLook())


def test_every_figure_is_there(figures):
    assert sorted(figures) == sorted(FIGURES)


def test_heads_are_a_panel_each(figures, explained):
    shown = panels(figures["heads"])
    assert len(shown) == 4
    for number, ((values, title), head) in enumerate(zip(shown, explained.heads, strict=True), start=1):
        np.testing.assert_array_equal(values, head)
        assert title == f"head {number}  {head.sum():.0%}"
    assert "Heads of layer 3 of 3" in texts(figures["heads"])


@pytest.mark.parametrize(
    ("count", "shape"), [(1, (1, 1)), (3, (2, 2)), (6, (2, 3)), (12, (3, 4)), (16, (4, 4)), (20, (4, 5))]
)
def test_heads_are_laid_out_near_square(explained, count, shape):
    heads = np.random.default_rng(0).random((count, 6, 6), dtype=np.float32)
    figure = draw("heads", replace(explained, heads=heads))
    assert {axes.get_subplotspec().get_gridspec().get_geometry() for axes in figure.get_axes()} == {shape}
    assert len(panels(figure)) == count


def test_filmstrip_ends_with_the_map(figures, explained):
    shown = panels(figures["filmstrip"])
    assert [title for _, title in shown] == ["layer 1", "layers 1 to 2", "layers 1 to 3"]
    np.testing.assert_array_equal(shown[-1][0], explained.prediction.attention)
    np.testing.assert_array_equal(panels(figures["map"])[0][0], explained.prediction.attention)
    assert np.abs(shown[0][0] - shown[1][0]).max() > 1e-3


@pytest.mark.parametrize(("count", "shape"), [(8, (1, 8)), (12, (2, 6)), (24, (3, 8)), (32, (4, 8))])
def test_filmstrip_of_a_deep_model_is_wrapped(explained, count, shape):
    frames = np.random.default_rng(0).random((count, 6, 6), dtype=np.float32)
    figure = draw("filmstrip", replace(explained, filmstrip=frames))
    assert {axes.get_subplotspec().get_gridspec().get_geometry() for axes in figure.get_axes()} == {shape}


def test_photo_beside_its_overlay(figures, explained):
    prediction = explained.prediction
    photo = prediction.sample.photo
    (shown, name), (overlay, title) = panels(figures["overlay"])
    np.testing.assert_array_equal(shown, photo)
    height, width = photo.shape[:2]
    expected = draw_overlay(photo, prediction.attention, (0, 0, width, height), OverlayLook())
    np.testing.assert_array_equal(overlay, np.asarray(expected))
    assert name == "photo.jpg"
    assert title == f"{explained.labels[0]} ({explained.scores[0]:.3f})"


def test_labels_have_bars_as_long_as_their_scores(figures, explained):
    (axes,) = figures["labels"].get_axes()
    assert [label.get_text() for label in axes.get_yticklabels()] == list(explained.labels)
    assert [bar.get_width() for bar in axes.patches] == list(explained.scores)
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the best is on top"


def test_fewer_labels_than_five(tiny_vit, photo):
    found = explain(ExplainConfig(image=photo, model=str(tiny_vit)))
    assert len(found.labels) == 3
    assert "Top 3 labels" in texts(draw("labels", found))


def test_all_of_them_in_one(figures, explained):
    shown = panels(figures["all"])
    assert len(shown) == 2 + 1 + 4 + 3
    assert {title for _, title in shown} >= {"photo.jpg", "Map (rollout)", "layers 1 to 3"}
    names = texts(figures["all"])
    assert set(explained.labels) <= set(names)


def test_the_attention_of_a_layer_is_that_of_no_other(explained):
    assert explained.film_method == "rollout"
    names = {title for _, title in panels(draw("filmstrip", replace(explained, film_method="attention")))}
    assert names == {"layer 1", "layer 2", "layer 3"}


@pytest.mark.parametrize("name", ["heads", "filmstrip", "map"])
def test_maps_have_the_proportions_of_the_photo(figures, name):
    for axes in image_axes(figures[name]):
        assert tuple(axes.get_images()[0].get_extent()) == (0, 3000, 2000, 0)
        assert axes.get_aspect() == 1


def test_maps_cover_what_the_model_saw(tiny_checkpoint, photo):
    """DINOv2's image processor crops the centre: 48 of 81 x 54 pixels."""
    found = explain(ExplainConfig(image=photo, model=str(tiny_checkpoint("dinov2"))))
    (axes,) = image_axes(draw("map", found))
    x0, x1, y1, y0 = axes.get_images()[0].get_extent()
    assert (x0, y0, x1, y1) == pytest.approx((3000 * 16 / 81, 2000 * 3 / 54, 3000 * 64 / 81, 2000 * 51 / 54), abs=1)


def test_planted_hot_cell_glows_in_the_pictures(explained, tmp_path):
    """In the pixels of the saved PNGs, at its place, in the colour map that was asked for."""
    hot = np.zeros((6, 6), np.float32)
    hot[1, 4] = 1
    prediction = replace(explained.prediction, attention=hot)
    planted = replace(explained, prediction=prediction, heads=np.stack([hot, hot.T]), filmstrip=hot[None])
    look = OverlayLook(colormap="viridis")
    cold, glowing = (tuple(round(255 * part) for part in Colormap("viridis")(place).rgba[:3]) for place in (0.0, 1.0))
    files, figures = write_figures(planted, look, tmp_path), draw_figures(planted, look)
    for name, place in (("map", 0), ("heads", 0), ("heads", 1), ("filmstrip", 0), ("all", 2)):
        figure = figures[name]
        figure.savefig(tmp_path / "again", format="png", dpi=120)  # which lays it out
        axes = image_axes(figure)[place]
        values = np.asarray(axes.get_images()[0].get_array())
        with Image.open(files[name]) as picture:
            for row, column in np.ndindex(6, 6):
                middle = ((column + 0.5) * 3000 / 6, (row + 0.5) * 2000 / 6)
                x, y = axes.transData.transform(middle) * 120 / figure.dpi
                pixel = picture.convert("RGB").getpixel((int(x), picture.height - 1 - int(y)))
                assert pixel == pytest.approx(glowing if values[row, column] else cold, abs=1), (name, row, column)


def test_names_are_shown_letter_by_letter(explained, tmp_path):
    """No formula, no escape, no line of their own making; a formula that is broken would not even be drawn."""
    odd = ("$\\frac{a$ and $x_1$", "<script>alert(1)</script>", "_a_ & b", "tab\tand\nline", "bell\x07\udcff")
    ref = replace(explained.prediction.sample.ref, path="$\\frac{1.jpg")
    prediction = replace(explained.prediction, sample=replace(explained.prediction.sample, ref=ref))
    named = brief(replace(explained, labels=odd, prediction=prediction))
    write_figures(named, OverlayLook(), tmp_path)
    figures = draw_figures(named, OverlayLook())
    shown = [*odd[:3], "tab and line", "bell\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"]
    for name in ("labels", "all"):
        assert set(shown) <= set(texts(figures[name]))
    assert [title for _, title in panels(figures["overlay"])] == ["$\\frac{1.jpg", f"{odd[0]} ({named.scores[0]:.3f})"]


def test_long_names_are_wrapped_and_cut(explained):
    named = replace(explained, labels=("word " * 60, "x" * 500, *explained.labels[2:]))
    shown = [label.get_text() for label in draw("labels", named).get_axes()[0].get_yticklabels()[:2]]
    for name in (*shown, panels(draw("overlay", named))[1][1]):
        lines = name.split("\n")
        assert len(lines) == 3
        assert lines[-1].endswith("…")
        assert max(map(len, lines)) <= 40


def test_a_font_for_more_letters_is_used_where_there_is_one(explained, monkeypatch):
    monkeypatch.setattr("matplotlib.font_manager.get_font_names", lambda: ["DejaVu Sans", "Noto Sans CJK JP", "Other"])
    (axes,) = draw_figures(brief(explained), OverlayLook())["labels"].get_axes()
    assert axes.get_yticklabels()[0].get_fontfamily() == ["DejaVu Sans", "Noto Sans CJK JP"]


def test_map_says_what_it_explains_and_shows_no_heat_where_something_speaks_against_it(explained):
    signed = np.linspace(-1, 1, 36, dtype=np.float32).reshape(6, 6)
    prediction = replace(explained.prediction, attention=signed)
    against = replace(explained, prediction=prediction, method="libragrad", target="dent", versus="_hole_")
    (axes,) = image_axes(draw("map", against))
    assert axes.get_title() == "Map (libragrad: dent rather than _hole_)"
    title = panels(draw("overlay", against))[1][1].replace("\n", " ")
    assert title.endswith("; heat: dent rather than _hole_")
    own = replace(explained, target=explained.labels[0])
    assert "heat" not in panels(draw("overlay", own))[1][1]
    image = axes.get_images()[0]
    np.testing.assert_array_equal(image.get_array(), signed)
    assert image.get_clim()[0] == 0
    assert image.colorbar.extend == "both"
    height, width = prediction.sample.photo.shape[:2]
    expected = draw_overlay(prediction.sample.photo, np.maximum(signed, 0), (0, 0, width, height), OverlayLook())
    np.testing.assert_array_equal(panels(draw("overlay", against))[1][0], np.asarray(expected))


def test_letters_that_no_font_has_are_told(explained, tmp_path, caplog):
    unknown = replace(explained, labels=("\N{CUNEIFORM SIGN A}",), scores=(1.0,))
    write_figures(brief(unknown), OverlayLook(), tmp_path)
    assert "letters that no font here has" in caplog.text


# The command


def call(monkeypatch, capsys, *arguments):
    """Exit code, stdout and stderr of `vitrollout explain`."""
    monkeypatch.setattr(sys, "argv", ["vitrollout", "explain", *map(str, arguments)])
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    with pytest.raises(SystemExit) as caught:
        jobs.cli.main()
    return caught.value.code or 0, *capsys.readouterr()


def test_command_writes_figures_and_replaces_those_of_another_photo(photo, tiny_vit, tmp_path, monkeypatch, capsys):
    out = tmp_path / "explained"
    options = ["--out", out, "--model", tiny_vit]
    code, stdout, stderr = call(monkeypatch, capsys, photo, *options)
    assert code == 0, stderr
    summary = json.loads(stdout.splitlines()[-1])
    assert summary["label"] == summary["top_labels"][0]
    assert summary["score"] == summary["top_scores"][0] == max(summary["top_scores"])
    assert (summary["image"], summary["layer"], summary["note"]) == (str(photo), 3, None)
    assert (summary["target"], summary["versus"]) == (None, None)
    assert summary["figures"] == {name: str(out / f"{name}.png") for name in FIGURES}
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    assert sorted(before) == sorted(f"{name}.png" for name in FIGURES)
    for file in out.iterdir():
        with Image.open(file) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) >= 200

    mine = {"notes.txt": b"mine", "map.jpg": b"mine, too"}
    for name, content in mine.items():
        (out / name).write_bytes(content)
    assert call(monkeypatch, capsys, photo, *options, "--layer", "-2")[0] == 0
    after = {file.name: file.read_bytes() for file in out.iterdir()}
    assert after.keys() == (before | mine).keys()
    assert {name for name in after if after[name] != (before | mine)[name]} == {"heads.png", "all.png"}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "no such file"),
        ("folder", "is a folder; vitrollout run takes folders"),
        ("pipe", "is not a regular file"),
        ("no name", "is empty; name a file"),
        ("ftp", "only http and https are fetched; name a file by its path"),
        ("text", "not an image of a supported format"),
        ("truncated", "truncated"),
        ("layer", "layer = 4: the model has 3 layers; name 1 to 3, or -1 to -3"),
    ],
)
def test_what_can_not_be_explained_is_2_in_one_line(tiny_vit, tmp_path, monkeypatch, capsys, kind, words):
    image, photo = tmp_path / "photo.png", encoded(smooth_photo(90, 90), "PNG")
    if kind == "folder":
        image.mkdir()
    elif kind == "pipe":
        os.mkfifo(image)
    elif kind != "missing":
        image.write_bytes({"text": b"<html>", "truncated": photo[:900]}.get(kind, photo))
    named = {"no name": "", "ftp": "ftp://example.org/a.png"}.get(kind, image)
    options = ["--layer", "4"] if kind == "layer" else []
    code, stdout, stderr = call(monkeypatch, capsys, named, "--out", tmp_path / "out", "--model", tiny_vit, *options)
    assert (code, stdout) == (2, "")
    assert words in stderr.lower()
    assert len(stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_all_wrong_settings_at_once(photo):
    with pytest.raises(ConfigError) as caught:
        ExplainConfig(image=photo, layer=0, colormap="mud", method="foo", fetch_bytes=0)
    assert [problem.split(" = ")[0] for problem in caught.value.problems] == [
        "layer",
        "method",
        "colormap",
        "fetch_bytes",
    ]


def test_without_matplotlib_the_extra_is_named(photo, monkeypatch, capsys):
    monkeypatch.setattr("jobs.command_line.extras.find_spec", lambda name: None)
    code, _, stderr = call(monkeypatch, capsys, photo)
    assert code == 2
    assert "matplotlib is missing; install it with: pip install 'vitrollout[figures]'" in stderr


def test_any_format_and_any_name(tiny_vit, tmp_path):
    """By content, as a run does; the name may say what it likes."""
    file = tmp_path / "scan.dat"
    file.write_bytes(frames("GIF"))
    found = explain(ExplainConfig(image=str(file), model=str(tiny_vit)))
    assert found.prediction.sample.note == "first of 3 frames"


def test_too_many_pixels(photo, tiny_vit):
    with pytest.raises(PhotoError, match=r"photo\.jpg: .* are more than max_pixels = 1000"):
        explain(ExplainConfig(image=photo, model=str(tiny_vit), max_pixels=1000))


def test_output_that_is_not_finite_is_refused(photo, tmp_path):
    from safetensors.torch import load_file, save_file

    model = save_tiny_vit(tmp_path / "broken")
    weights = load_file(model / "model.safetensors")
    weights["classifier.bias"] += float("nan")
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PhotoError, match="not finite"):
        explain(ExplainConfig(image=photo, model=str(model)))


def test_photo_from_the_web(photo, tiny_vit, tmp_path, monkeypatch, capsys):
    with WebServer().running() as server:
        server.pages |= {"/a%20b.jpg": photo.read_bytes(), "/page": b"<html>no photo</html>"}
        settings = {"model": str(tiny_vit), "precision": "fp32"}
        here = explain(ExplainConfig(image=photo, **settings))
        there = explain(ExplainConfig(image=server.url("/a%20b.jpg"), allow_private=True, **settings))
        np.testing.assert_array_equal(here.filmstrip, there.filmstrip)
        np.testing.assert_array_equal(here.heads, there.heads)
        assert there.prediction.sample.ref.path == "a b.jpg"
        with pytest.raises(PhotoError, match="/page: not an image of a supported format"):
            explain(ExplainConfig(image=server.url("/page"), allow_private=True, **settings))
        code, _, stderr = call(monkeypatch, capsys, server.url("/a%20b.jpg"), "--out", tmp_path, "--model", tiny_vit)
        assert code == 2
        assert "127.0.0.1 is a private or reserved address" in stderr
        assert len(stderr.splitlines()) == 1
        assert len(server.requests) == 2


def test_ctrl_c_is_130_without_a_traceback(tiny_vit, tmp_path):
    asked = threading.Event()
    with WebServer().running() as server:

        def silent(_):
            asked.set()
            server.closing.wait()

        server.pages["/photo.png"] = silent
        command = [sys.executable, "-m", "jobs.cli", "explain", server.url("/photo.png"), "--allow-private"]
        process = subprocess.Popen(
            [*command, "--model", str(tiny_vit), "--out", str(tmp_path / "out")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
        )
        assert asked.wait(60)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert stdout == ""
