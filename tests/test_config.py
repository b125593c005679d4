"""Settings: all errors at once, in words; and every one of them is an option of the command."""

import logging
import re
import sys

import click
import pytest
from click.testing import CliRunner

import jobs.run
from jobs.cli import main
from jobs.command_line.options import settings_options, shown_default
from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from pipeline.evaluation.config import EvaluateConfig
from pipeline.explain.config import ExplainConfig
from pipeline.results.run_record import RunSummary
from pipeline.training.config import FinetuneConfig
from pipeline.trust.config import TrustConfig


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


def errors_of(**settings):
    """The lines of the error, without the one that counts them."""
    with pytest.raises(ConfigError) as caught:
        RunConfig(**settings)
    first, *others = str(caught.value).split("\n  ")
    if not others:
        return [first]
    assert first == f"{len(others)} settings are wrong:"
    return others


def test_defaults_are_those_of_the_readme(photos):
    config = RunConfig(input=photos)
    assert config.model_dump(exclude={"input", "out"}) == {
        "model": "bundled",
        "input_size": None,
        "method": ("auto",),
        "target": "top1",
        "versus": None,
        "positive": (),
        "labels": None,
        "tile": "auto",
        "tile_overlap": 0.5,
        "head_fusion": "mean",
        "discard_ratio": 0.0,
        "precision": "auto",
        "device": "auto",
        "batch_size": "auto",
        "embeddings": False,
        "keep_tiles": False,
        "workers": "auto",
        "pattern": None,
        "exclude": (),
        "hidden": False,
        "limit": None,
        "sample": None,
        "overlays": "auto",
        "overlay_size": 1024,
        "overlay_opacity": 0.7,
        "colormap": "plasma",
        "style": "heat",
        "scale": "auto",
        "report": True,
        "retry_failed": False,
        "exact_decode": False,
        "rescale": True,
        "follow_links": False,
        "compare_runs": 20,
        "devices": None,
        "engine": "auto",
        "ray_address": None,
        "repair": False,
        "rebind": False,
        "white_level": None,
        "max_pixels": 178_000_000,
        "decode_seconds": 60,
        "part_rows": 1000,
        "part_seconds": 60,
    }
    assert config.out.name == "results"


def test_settings_are_frozen(photos):
    config = RunConfig(input=photos)
    with pytest.raises(ValueError, match="frozen"):
        config.limit = 3


def test_all_errors_are_reported_at_once():
    lines = errors_of(
        input="/no/such/folder",
        method="foo",
        discard_ratio=2,
        batch_size="many",
        colormap="mud",
        precison="fp32",
        zzz=1,
    )
    assert [re.split("[ :]", line)[0] for line in lines] == [
        "batch_size",
        "discard_ratio",
        "colormap",
        "input",
        "method",
        "precison",
        "zzz",
    ]
    assert lines[-2] == "precison: no such setting; did you mean precision?"
    assert lines[-1] == "zzz: no such setting"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("head_fusoin", "head_fusion"), ("batchsize", "batch_size"), ("overlaysize", "overlay_size"), ("outt", "out")],
)
def test_typo_is_answered_with_the_nearest_name(photos, typed, meant):
    assert errors_of(input=photos, **{typed: 1}) == [f"{typed}: no such setting; did you mean {meant}?"]


def test_missing_input_is_named():
    assert errors_of() == ["input: must be given"]


@pytest.mark.parametrize(
    "explained",
    [
        {"target": "spur"},
        {"target": 0},
        {"versus": "short"},
        {"target": "expected", "labels": "labels.csv"},
        {"target": "defects", "versus": "good", "positive": "spur, open"},
        {"target": "top1", "versus": "none"},
    ],
    ids=str,
)
def test_a_label_to_explain_leaves_the_method_to_the_model(photos, monkeypatch, explained):
    monkeypatch.chdir(photos.parent)
    (photos.parent / "labels.csv").write_text("path,label\n")
    config = RunConfig(input=photos, **explained)
    assert config.method == ("auto",)
    assert RunConfig(**config.model_dump()) == config
    assert RunConfig(input=photos, **explained, method="rollout,legrad").method == ("rollout", "legrad")


@pytest.mark.parametrize(
    ("explained", "words"),
    [
        ({"target": "cat"}, "rollout gives the same map for every label; add a --method with label-dependent maps"),
        ({"versus": "cat"}, "relevance, legrad, libragrad"),
        ({"target": "expected"}, "relevance, legrad, libragrad"),
    ],
    ids=str,
)
def test_a_label_is_explained_by_no_attention_alone(photos, explained, words):
    problems = errors_of(input=photos, method="rollout", **explained)
    assert any(problem.startswith(*explained) and words in problem for problem in problems)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("method", "gradcam", "must be 'rollout', 'article', 'attention', 'rollout-norm', 'relevance', "),
        ("method", "", "must name a method: rollout, article"),
        ("method", "auto,rollout", "auto chooses one method for the model, and stands alone"),
        ("method", 3, "must be"),
        ("labels", "labels.csv", "is only read with target = expected"),
        ("positive", "spur", "is only read with target = defects"),
        ("scale", "0", "must be auto, model, run, photo, or a value of the maps above 0"),
        ("scale", "nan", "must be auto, model, run, photo"),
        ("scale", "mine", "must be auto, model, run, photo"),
        ("head_fusion", "median", "must be 'mean', 'max' or 'min'"),
        ("precision", "int8", "must be 'auto', 'fp32', 'bf16' or 'fp16'"),
        ("style", "pretty", "must be 'heat' or 'article'"),
        ("device", "gpu", "cuda"),
        ("device", "cuda:x", "cuda:N"),
        ("discard_ratio", 1, "less than 1"),
        ("discard_ratio", -0.1, "greater than or equal to 0"),
        ("discard_ratio", "nan", "must be"),
        ("batch_size", 0, "must be auto or a whole number of at least 1"),
        ("batch_size", "2.5", "must be auto or a whole number of at least 1"),
        ("batch_size", True, "must be auto or a whole number of at least 1"),
        ("workers", -1, "must be auto or a whole number of at least 1"),
        ("limit", 0, "at least 1|greater than or equal to 1"),
        *[
            ("overlays", value, "must be none, failed, below:0.8")
            for value in ("some", "", "below:2", "label:", "all:1")
        ],
        *[("overlays", value, "must be none, failed, below:0.8") for value in ("sample:0", "sample:x", "below:x")],
        ("overlay_size", 15, "greater than or equal to 16"),
        ("overlay_size", "large", "valid integer"),
        ("overlay_opacity", 1.1, "less than or equal to 1"),
        ("overlay_opacity", -0.1, "greater than or equal to 0"),
        ("colormap", "mud", "no such colour map; try plasma"),
        ("max_pixels", 0, "greater than or equal to 1"),
        ("decode_seconds", 0, "greater than 0"),
        ("decode_seconds", "inf", "less than or equal to 86400"),
        ("part_rows", 0, "greater than or equal to 1"),
        ("part_seconds", "nan", "greater than 0"),
        ("retry_failed", "perhaps", "valid boolean"),
        *[("input_size", value, "must be pixels") for value in ("large", "0", "", "3x", "1x2x3", "-5", "²", "384,512")],
        *[("input_size", value, "must be pixels") for value in (0, -5, True, 2.5, (0, 5), (1, 2, 3), ())],
        ("input_size", "384x99999999999", "at most 16384"),
    ],
)
def test_wrong_value_is_named_with_what_is_right(photos, name, value, words):
    (line,) = errors_of(input=photos, **{name: value})
    assert line.startswith(f"{name} = {value}: ")
    assert re.search(words, line)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        *[(value, (384, 384)) for value in ("384", 384)],
        *[(value, (384, 512)) for value in ("384x512", "384X512", (384, 512), [384, 512])],
        *[(value, None) for value in ("none", None)],
    ],
)
def test_input_size(photos, value, size):
    assert RunConfig(input=photos, input_size=value).input_size == size


@pytest.mark.parametrize(("value", "size"), [("none", None), (None, None), ("300", 300), (16, 16)])
def test_overlay_size(photos, value, size):
    assert RunConfig(input=photos, overlay_size=value).overlay_size == size


@pytest.mark.parametrize(("value", "count"), [("auto", "auto"), ("3", 3), (3, 3)])
@pytest.mark.parametrize("name", ["batch_size", "workers"])
def test_counts(photos, name, value, count):
    assert getattr(RunConfig(input=photos, **{name: value}), name) == count


# Folders


def test_folders_become_absolute_and_links_are_followed(tmp_path, photos, monkeypatch):
    (tmp_path / "link").symlink_to("photos")
    monkeypatch.chdir(tmp_path)
    config = RunConfig(input="link", out="there/../results")
    assert (config.input, config.out) == (photos.resolve(), tmp_path.resolve() / "results")


def test_tilde_is_the_home_folder(tmp_path, photos, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = RunConfig(input="~/photos", out="~/out")
    assert (config.input, config.out) == (photos.resolve(), tmp_path.resolve() / "out")


def test_input_that_is_no_folder(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    assert errors_of(input=tmp_path / "nowhere") == [f"input = {tmp_path}/nowhere: no such folder"]
    assert "is a file; name its folder" in errors_of(input=tmp_path / "a.jpg")[0]


def test_empty_names_are_not_the_current_folder(photos):
    assert errors_of(input="") == ["input = : is empty; name a folder"]
    assert errors_of(input=photos, out="") == ["out = : is empty; name a folder"]
    for settings in (FinetuneConfig, EvaluateConfig):
        with pytest.raises(ConfigError, match="out = : is empty; name a folder"):
            settings(data=photos, out="")


def test_out_must_not_lie_inside_the_input(tmp_path, photos):
    (tmp_path / "link").symlink_to("photos")
    for out in (
        photos,
        photos / "results",
        photos / "deep/results",
        tmp_path / "link/results",
        tmp_path / "x/../photos",
    ):
        (line,) = errors_of(input=photos, out=out)
        assert "lies inside the input folder" in line
    for out in (tmp_path, tmp_path / "photos-results", tmp_path / "results"):
        assert RunConfig(input=photos, out=out).out == out.resolve()


def test_default_out_must_not_lie_inside_the_input(photos, monkeypatch):
    monkeypatch.chdir(photos)
    (error,) = errors_of(input=".")
    assert error.startswith("out = results: lies inside the input folder")


@pytest.mark.parametrize("path", ["~nobody-of-this-name/photos", "x" * 300])
def test_paths_that_the_system_refuses(photos, path):
    errors = errors_of(input=path, out=path)
    assert [error.split(" = ")[0] for error in errors] == ["input", "out"]
    assert all("can't be accessed" in error for error in errors)


def test_out_that_is_a_file(tmp_path, photos):
    (tmp_path / "out").write_bytes(b"")
    assert errors_of(input=photos, out=tmp_path / "out") == [f"out = {tmp_path}/out: is a file; name a folder"]


# The command line


OPTIONS = {
    "out": ("elsewhere", None),
    "model": ("some/model", "some/model"),
    "input_size": ("384x512", (384, 512)),
    "method": ("legrad,article", ("legrad", "article")),
    "target": ("spur", "spur"),
    "versus": ("3", "3"),
    "positive": ("spur,open", ("spur", "open")),
    "labels": ("labels.csv", "labels.csv"),
    "tile": ("512", 512),
    "tile_overlap": ("0.25", 0.25),
    "head_fusion": ("max", "max"),
    "discard_ratio": ("0.25", 0.25),
    "precision": ("fp32", "fp32"),
    "device": ("cpu", "cpu"),
    "batch_size": ("3", 3),
    "embeddings": (None, True),
    "keep_tiles": (None, True),
    "workers": ("2", 2),
    "pattern": ("*.png", "*.png"),
    "exclude": ("*_mask.png,raw", ("*_mask.png", "raw")),
    "hidden": (None, True),
    "limit": ("7", 7),
    "sample": ("50", 50),
    "overlays": ("below:0.8", "below:0.8"),
    "overlay_size": ("none", None),
    "overlay_opacity": ("0.5", 0.5),
    "colormap": ("viridis", "viridis"),
    "style": ("article", "article"),
    "scale": ("2.5", 2.5),
    "report": (None, False),
    "retry_failed": (None, True),
    "exact_decode": (None, True),
    "white_level": ("4095", 4095),
    "rescale": (None, False),
    "follow_links": (None, True),
    "compare_runs": ("5", 5),
    "devices": ("0,2", (0, 2)),
    "engine": ("ray", "ray"),
    "ray_address": ("head:6379", "head:6379"),
    "repair": (None, True),
    "rebind": (None, True),
    "max_pixels": ("1000", 1000),
    "decode_seconds": ("2.5", 2.5),
    "part_rows": ("10", 10),
    "part_seconds": ("5", 5.0),
}

# What an option is nothing without.
BESIDE = {
    "target": {"method": ("relevance",)},
    "versus": {"method": ("relevance",)},
    "positive": {"method": ("relevance",), "target": "defects"},
    "labels": {"method": ("relevance",), "target": "expected"},
}

SUMMARY = RunSummary(
    run_id="20260101T000000Z",
    input="",
    out="",
    found=0,
    done_before=0,
    processed=0,
    ok=0,
    failed=0,
    unreadable_folders=0,
    interrupted=False,
    seconds=0.0,
    images_per_second=0.0,
)


@pytest.fixture
def configured(monkeypatch):
    """What the command would run with."""
    seen = []
    monkeypatch.setattr(jobs.run, "run", lambda config, stop: seen.append(config) or SUMMARY)

    def invoke(*arguments):
        result = CliRunner().invoke(jobs.run.run_command, list(map(str, arguments)), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return seen.pop()

    return invoke


def test_every_setting_has_an_example():
    assert {"input", *OPTIONS} == set(RunConfig.model_fields)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_setting_is_an_option(photos, configured, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.csv").write_text("path,label\n")
    typed, expected = OPTIONS[name]
    beside = BESIDE.get(name, {})
    others = [part for key, value in beside.items() for part in (f"--{key}", "".join(value))]
    flag = ("--no-" if expected is False else "--") + name.replace("_", "-")
    config = configured(photos, *others, flag, *([typed] if typed else []))
    assert getattr(config, name) == (tmp_path.resolve() / typed if name in ("out", "labels") else expected)
    untouched = RunConfig(input=photos).model_dump(exclude={name}) | beside
    assert config.model_dump(exclude={name}) == untouched


def test_a_method_may_be_named_by_commas_or_again(photos, configured):
    several = configured(photos, "--method", "legrad, rollout", "--method", "attention", "--method", "rollout")
    assert several.method == ("legrad", "rollout", "attention")


def test_the_wrong_one_of_several_methods_is_named(photos):
    (line,) = errors_of(input=photos, method="rollout,gradcam")
    assert line.startswith("method = gradcam: must be 'rollout', ")


def test_labels_that_are_expected_need_a_csv(photos, tmp_path):
    explained = {"input": photos, "method": "relevance", "target": "expected"}
    assert errors_of(**explained) == ["labels = None: must name a CSV with the labels for target = expected"]
    lines = errors_of(**explained, labels=tmp_path / "none.csv")
    assert lines == [f"labels = {tmp_path / 'none.csv'}: no such file"]


@pytest.mark.parametrize("tile", ["7", "-1", "2.5", "wide", "112x112"])
def test_windows_have_a_side_in_pixels(photos, tile):
    (line,) = errors_of(input=photos, tile=tile)
    assert line == f"tile = {tile}: must be auto, none, or the side of a window in pixels, at least 8"


@pytest.mark.parametrize("overlap", [1, 0.95, -0.1])
def test_windows_overlap_in_part(photos, overlap):
    (line,) = errors_of(input=photos, tile_overlap=overlap)
    assert line.startswith(f"tile_overlap = {overlap}: must be ")


def test_an_id_may_be_a_number(photos):
    assert RunConfig(input=photos, method=["libragrad"], target=3).target == "3"


def test_without_options_the_defaults_hold(photos, configured):
    assert configured(photos) == RunConfig(input=photos)


def test_input_with_a_dash_in_front(tmp_path, configured, monkeypatch):
    (tmp_path / "-photos").mkdir()
    monkeypatch.chdir(tmp_path)
    assert configured("--", "-photos").input == tmp_path.resolve() / "-photos"


def test_help_shows_every_option_with_its_default():
    text = CliRunner().invoke(jobs.run.run_command, ["--help"], terminal_width=400, max_content_width=400).output
    entries = {entry.split()[0].rstrip(","): " ".join(entry.split()) for entry in re.split(r"\n +(?=--)", text)[1:]}
    for name, field in RunConfig.model_fields.items():
        if name == "input":
            assert "run [OPTIONS] INPUT" in text
            continue
        flag = "--" + name.replace("_", "-")
        assert field.description in entries[flag]
        if field.annotation is not bool:
            default = ",".join(field.default) if name == "method" else field.default
            words = "auto" if name == "positive" else "none"
            assert f"[default: {words if default in (None, ()) else default}]" in entries[flag]
        elif field.default:
            assert entries[flag].startswith(f"{flag} / --no-{flag[2:]}")
            assert entries[flag].endswith(f"[default: {flag}]")


@pytest.mark.parametrize("settings", [RunConfig, FinetuneConfig, EvaluateConfig, ExplainConfig, TrustConfig])
def test_the_default_that_help_names_can_be_given(settings, photos, tmp_path):
    needed = {"input": photos, "data": photos, "image": photos / "a.png", "out": tmp_path / "out"}
    (photos / "a.png").touch()
    start = {name: needed[name] for name in settings.model_fields if name in needed}
    fields = {name: field for name, field in settings.model_fields.items() if field.default in (None, ())}
    words = {name: shown_default(field) for name, field in fields.items()}
    assert "none" in words.values()
    given = settings(**start, **words)
    assert [name for name, field in fields.items() if getattr(given, name) != field.default] == []


def exit_of(monkeypatch, capsys, *arguments):
    """Exit code, stdout and stderr of `vitrollout`."""
    monkeypatch.setattr(sys, "argv", ["vitrollout", *map(str, arguments)])
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code, *capsys.readouterr()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "foo"], ["method = foo"]),
        (["--batch-size", "none", "--limit", "-1", "--style", "x"], ["batch_size", "limit", "style"]),
        (["--decode-seconds", "0"], ["decode_seconds"]),
        (["--no-such-option"], ["--no-such-option"]),
        (["--mehtod", "article"], ["--method"]),
        (["--method"], ["--method"]),
        (["another/folder"], ["another/folder"]),
        (["--out", "photos/results"], ["out = ", "inside the input folder"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_wrong_options_exit_with_2(tmp_path, photos, monkeypatch, capsys, options, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = exit_of(monkeypatch, capsys, "run", "photos", *options)
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    for word in words:
        assert word in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"], "nothing is made"


@pytest.mark.parametrize("kind", ["missing", "file", "empty", "no images", "empty name"])
def test_input_that_can_not_be_processed_exits_with_2(tmp_path, monkeypatch, capsys, kind):
    source = tmp_path / "photos"
    if kind == "file":
        source.write_bytes(b"")
    elif kind != "missing":
        source.mkdir()
    if kind == "no images":
        (source / "notes.txt").write_bytes(b"")
    out = tmp_path / "out"
    code, _, err = exit_of(monkeypatch, capsys, "run", "" if kind == "empty name" else source, "--out", out)
    assert code == 2
    assert ("no photos in" in err) == (kind in ("empty", "no images"))
    assert not out.exists(), "nothing is made"


def test_pattern_that_matches_nothing_is_named(tmp_path, photos, monkeypatch, capsys):
    (photos / "a.jpg").write_bytes(b"")
    code, _, err = exit_of(monkeypatch, capsys, "run", photos, "--out", tmp_path / "out", "--pattern", "*.tif")
    assert code == 2
    assert "matching *.tif" in err


def test_options_of_other_settings_work_the_same_way():
    @click.command()
    @settings_options(RunConfig, argument="input")
    def command(**options):
        click.echo(options["head_fusion"])

    assert CliRunner().invoke(command, ["x", "--head-fusion", "min"]).output == "min\n"
    assert CliRunner().invoke(command, []).exit_code == 2
