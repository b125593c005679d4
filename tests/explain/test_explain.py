"""One photo explained: the numbers are those of a run; the command from a file or URL to figures."""

import json
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import jobs.cli
import pipeline
from pipeline.config import RunConfig
from pipeline.errors import ConfigError, PhotoError
from pipeline.explain.config import ExplainConfig
from pipeline.explain.explain import explain
from tests.helpers.image_files import encoded, frames, smooth_photo
from tests.helpers.models import save_tiny_vit
from tests.helpers.web_server import WebServer

FIGURES = ["overlay", "map", "labels", "heads", "filmstrip", "all"]


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
    explanation = explain(ExplainConfig(image=photo, **settings))
    np.testing.assert_array_equal(explanation.prediction.logits, row["logits"])
    np.testing.assert_array_equal(explanation.prediction.attention.ravel(), row["attention"])
    if explanation.film_method == explanation.method:
        np.testing.assert_array_equal(explanation.filmstrip[-1].ravel(), row["attention"])
    for label, column in ((explanation.target, "target"), (explanation.versus, "versus")):
        assert label == (None if pd.isna(row[column]) else row[column])
    assert explanation.filmstrip.shape == (3, row["grid_h"], row["grid_w"])
    assert list(explanation.labels) == list(row["top_labels"])
    np.testing.assert_allclose(explanation.scores, row["top_scores"], rtol=1e-6)
    assert explanation.box == pytest.approx(tuple(row["map_box"]))
    assert explanation.prediction.sample.content_hash == row["content_hash"]


def test_labels_to_explain_are_checked(photo, tiny_vit):
    settings = {"image": photo, "model": str(tiny_vit)}
    with pytest.raises(
        ConfigError, match="target = clas-1: is not a class of the model, which knows class-1"
    ) as caught:
        explain(ExplainConfig(method="legrad", target="clas-1", versus="nothing", **settings))
    assert len(caught.value.problems) == 2
    with pytest.raises(ConfigError, match="versus = 2: is the target itself"):
        explain(ExplainConfig(method="legrad", target="class-2", versus="2", **settings))
    likely = explain(ExplainConfig(**settings)).labels[0]
    with pytest.raises(ConfigError, match=f"versus = {likely}: is the photo's most likely label itself"):
        explain(ExplainConfig(method="legrad", versus=likely, **settings))
    with pytest.raises(ConfigError, match="rollout gives the same map for every label; add a --method"):
        ExplainConfig(method="rollout", target="class-2", **settings)


def test_a_label_to_explain_takes_a_method_that_can(photo, tiny_vit):
    settings = {"image": photo, "model": str(tiny_vit)}
    for label in ({"target": "class-2"}, {"versus": "class-0", "target": "1"}):
        explanation = explain(ExplainConfig(**label, **settings))
        assert (explanation.method, explanation.target) == ("libragrad", f"class-{label['target'][-1]}")
    assert explain(ExplainConfig(target="top1", **settings)).method == "rollout"


def test_family_without_rollout_is_refused(tmp_path, photo):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "swin"}))
    with pytest.raises(pipeline.VitrolloutError, match="'swin' has no attention rollout"):
        explain(ExplainConfig(image=photo, model=str(tmp_path)))


def call_explain(monkeypatch, capsys, *arguments):
    """Exit code, stdout and stderr of `vitrollout explain`."""
    monkeypatch.setattr(sys, "argv", ["vitrollout", "explain", *map(str, arguments)])
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    with pytest.raises(SystemExit) as caught:
        jobs.cli.main()
    return caught.value.code or 0, *capsys.readouterr()


def test_command_writes_figures_and_replaces_figures_of_another_photo(photo, tiny_vit, tmp_path, monkeypatch, capsys):
    out = tmp_path / "explained"
    options = ["--out", out, "--model", tiny_vit]
    code, stdout, stderr = call_explain(monkeypatch, capsys, photo, *options)
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

    own_files = {"notes.txt": b"mine", "map.jpg": b"mine, too"}
    for name, content in own_files.items():
        (out / name).write_bytes(content)
    assert call_explain(monkeypatch, capsys, photo, *options, "--layer", "-2")[0] == 0
    after = {file.name: file.read_bytes() for file in out.iterdir()}
    assert after.keys() == (before | own_files).keys()
    assert {name for name in after if after[name] != (before | own_files)[name]} == {"heads.png", "all.png"}


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
def test_an_unusable_photo_or_layer_is_exit_code_2_in_one_line(tiny_vit, tmp_path, monkeypatch, capsys, kind, words):
    image, photo = tmp_path / "photo.png", encoded(smooth_photo(90, 90), "PNG")
    if kind == "folder":
        image.mkdir()
    elif kind == "pipe":
        os.mkfifo(image)
    elif kind != "missing":
        image.write_bytes({"text": b"<html>", "truncated": photo[:900]}.get(kind, photo))
    named = {"no name": "", "ftp": "ftp://example.org/a.png"}.get(kind, image)
    options = ["--layer", "4"] if kind == "layer" else []
    code, stdout, stderr = call_explain(
        monkeypatch, capsys, named, "--out", tmp_path / "out", "--model", tiny_vit, *options
    )
    assert (code, stdout) == (2, "")
    assert words in stderr.lower()
    assert len(stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_without_matplotlib_the_extra_is_named(photo, monkeypatch, capsys):
    monkeypatch.setattr("jobs.command_line.extras.find_spec", lambda name: None)
    code, _, stderr = call_explain(monkeypatch, capsys, photo)
    assert code == 2
    assert "matplotlib is missing; install it with: pip install 'vitrollout[figures]'" in stderr


def test_any_format_and_any_name(tiny_vit, tmp_path):
    """The format is read from the content, as in a run, whatever the name."""
    file = tmp_path / "scan.dat"
    file.write_bytes(frames("GIF"))
    explanation = explain(ExplainConfig(image=str(file), model=str(tiny_vit)))
    assert explanation.prediction.sample.note == "first of 3 frames"


def test_too_many_pixels(photo, tiny_vit):
    with pytest.raises(PhotoError, match=r"photo\.jpg: .* are more than max_pixels = 1000"):
        explain(ExplainConfig(image=photo, model=str(tiny_vit), max_pixels=1000))


def test_output_that_is_not_finite_is_refused(photo, tmp_path):
    from safetensors.torch import load_file, save_file

    model = save_tiny_vit(tmp_path / "broken")
    weights = load_file(model / "model.safetensors")
    weights["classifier.weight"].fill_(3e38)  # finite, as loading asks for; the product overflows
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
        code, _, stderr = call_explain(
            monkeypatch, capsys, server.url("/a%20b.jpg"), "--out", tmp_path, "--model", tiny_vit
        )
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
