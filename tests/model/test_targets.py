"""Which label is explained: names, synonyms and ids, the CSV of expected labels, and what is said of wrong ones."""

import json

import numpy as np
import pytest

import pipeline
from pipeline.config import RunConfig
from pipeline.errors import ConfigError, DataError, ModelError
from pipeline.model.checkpoint import Checkpoint
from pipeline.model.targets import Targets, find_label, read_expected
from pipeline.plan import choose_targets, fingerprint, photo_fingerprint
from pipeline.records import ImageRef

IMAGENET = ("tench, Tinca tinca", "crane", "remote control, remote", "tabby, tabby cat", "crane", "3", "Cat's eye")


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("tench, Tinca tinca", 0),
        ("tench", 0),
        ("tinca TINCA", 0),
        ("remote", 2),
        ("Tabby Cat", 3),
        ("3", 5),  # a name comes before an id
        ("0", 0),
        ("4", 4),
        ("6", 6),
    ],
)
def test_a_label_is_found_by_name_by_synonym_or_by_id(typed, found):
    assert find_label(typed, IMAGENET) == found


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("crane", "names 2 classes; give an id: 1, 4"),
        ("cat", "is not a class of the model, which knows tabby, tabby cat, Cat's eye"),
        ("remot", "which knows remote control, remote"),
        ("tabbi", "which knows tabby, tabby cat"),
        ("7", r"which knows tench, Tinca tinca, crane, remote control, remote, ... \(ids 0 to 6\)"),
        ("-1", "not a class"),
        ("", "not a class"),
        ("²", "not a class"),
    ],
)
def test_one_that_is_not_there_is_answered_with_the_nearest(typed, words):
    with pytest.raises(ValueError, match=words):
        find_label(typed, IMAGENET)


@pytest.fixture
def labels_csv(tmp_path):
    def write(text, encoding="utf-8"):
        file = tmp_path / "labels.csv"
        file.write_text(text, encoding=encoding)
        return file

    return write


LABELS = ("ok", "spur", "open")


@pytest.mark.parametrize(
    "text",
    [
        "path,label\na.png,spur\nb/c.png,ok\n",
        "label,path,score\nspur,./a.png,0.5\nok,b//c.png,\n",
        "path,expected,label\na.png,spur,open\nb/c.png,0,open\n",
        "\ufeffpath,label\r\na.png,1\r\nb/c.png,ok\r\n",
    ],
)
def test_expected_labels_are_read(labels_csv, text):
    assert read_expected(labels_csv(text), LABELS) == {"a.png": 1, "b/c.png": 0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"can't be read as CSV \(No columns to parse from file\)"),
        ("file,label\na.png,ok\n", "needs the columns path and expected .or label., has file, label"),
        ("path,label\na.png,ok\n./a.png,ok\n", r"line 3 \(a.png, 'ok'\) occurs twice"),
        ("path,label\na.png,sput\n", r"line 2 \(a.png, 'sput'\) is not a class of the model, which knows spur"),
        (
            "path,label\na.png\n",
            r"line 2 \(a.png, ''\) is not a class of the model, which knows ok, spur, open, ... \(ids 0 to 2\)",
        ),
        ("path,label\n" + "".join(f"{n}.png,x\n" for n in range(9)), "and 6 more lines$"),
    ],
)
def test_a_wrong_csv_says_where(labels_csv, text, words):
    with pytest.raises(DataError, match=words):
        read_expected(labels_csv(text), LABELS)


def test_a_csv_that_is_no_utf_8(labels_csv):
    with pytest.raises(DataError, match=r"can't be read as CSV .*save it as UTF-8"):
        read_expected(labels_csv("path,label\nä.png,ok\n", "latin-1"), LABELS)


@pytest.mark.parametrize(
    ("config", "labels"),
    [
        ({"id2label": {"10": "k", "2": "c", "0": "a"}}, ("a", "c", "k")),
        ({"num_labels": 3}, ("LABEL_0", "LABEL_1", "LABEL_2")),
        ({}, ("LABEL_0", "LABEL_1")),
    ],
)
def test_labels_of_a_checkpoint_are_those_of_transformers(tmp_path, config, labels):
    assert Checkpoint("m", tmp_path, config).labels == labels


def test_ids_that_are_no_numbers_are_refused(tmp_path):
    with pytest.raises(ModelError, match=r"id2label in its config.json: .*'x'"):
        assert Checkpoint("m", tmp_path, {"id2label": {"x": "a"}}).labels


@pytest.fixture
def choose(tmp_path):
    """`choose_targets` with settings, for a model that knows LABELS and two photos."""
    (tmp_path / "photos").mkdir()
    checkpoint = Checkpoint("m", tmp_path, {"id2label": dict(enumerate(LABELS))})
    refs = [ImageRef(path, None, path, 1, 1) for path in ("a.png", "b.png")]

    def choose(**settings):
        config = RunConfig(input=tmp_path / "photos", **{"method": "legrad"} | settings)
        return choose_targets(config, checkpoint, refs)

    return choose


def test_the_most_likely_label_is_the_default(choose):
    assert choose().label_for("a.png") is None
    assert choose(method="rollout") == Targets()


def test_one_label_against_another(choose):
    targets = choose(target="spur", versus="0")
    assert (targets.label_for("a.png"), targets.label_for("b.png"), targets.versus) == (1, 1, 0)


def test_a_label_by_photo(choose, labels_csv):
    targets = choose(target="expected", labels=labels_csv("path,label\nb.png,open\nc.png,ok\n"))
    assert targets.label_for("b.png") == 2


def test_photos_without_an_expected_label_are_a_problem_said_once(choose, labels_csv, caplog):
    targets = choose(target="expected", labels=labels_csv("path,label\nb.png,open\n"))
    refs = [ImageRef(f"{name}.png", None, "", 1, 1, "is a pipe" if name == "d" else None) for name in "abcd"]
    checked = targets.check(refs)
    assert [ref.problem and ref.problem.split(":")[0] for ref in checked] == [
        "no label is expected of it",
        None,
        "no label is expected of it",
        "is a pipe",
    ]
    assert caplog.messages == ["2 of 4 photos are not in the CSV of --labels: they become failed rows"]
    assert Targets().check(refs) == refs


def test_all_that_is_wrong_is_said_at_once(choose, labels_csv):
    with pytest.raises(ConfigError) as caught:
        choose(target="expected", versus="sput", labels=labels_csv("path,label\nb.png,oppen\n"))
    versus, labels = caught.value.problems
    assert versus == "versus = sput: is not a class of the model, which knows spur"
    assert labels.endswith("line 2 (b.png, 'oppen') is not a class of the model, which knows open")
    with pytest.raises(ConfigError, match="target = x: is not a class") as caught:
        choose(target="x", versus="y")
    assert len(caught.value.problems) == 2


def test_the_words_for_a_target_are_no_label_to_set_against_it(choose):
    with pytest.raises(ConfigError, match="versus = top1: is not a class"):
        choose(versus="top1")


def test_a_target_against_itself_is_refused(choose):
    with pytest.raises(ConfigError, match="versus = 1: is the target itself"):
        choose(target="spur", versus="1")


def test_a_csv_of_other_photos_is_refused(choose, labels_csv):
    with pytest.raises(ConfigError, match=r"names no photo of .*; paths must be relative to that folder"):
        choose(target="expected", labels=labels_csv("path,label\nphotos/a.png,ok\n"))


class Digested:
    def digest(self):
        return "00"


def test_fingerprints_of_results_made_before_there_were_targets_hold(tmp_path):
    """A change here would process every archive again."""
    old = {(): "f6680342a2f7", ("--method", "article"): "d70620d56afc"}
    for arguments, mark in old.items():
        config = RunConfig(input=tmp_path, **({"method": arguments[1]} if arguments else {}))
        assert fingerprint(config, Digested(), "bf16", Targets()) == mark
        assert photo_fingerprint(mark, Targets(), "a.png") == mark


def test_fingerprints_tell_methods_and_labels_apart(tmp_path):
    (tmp_path / "labels.csv").write_text("path,label\n")
    expected = {"target": "expected", "labels": tmp_path / "labels.csv"}

    def mark(methods, targets=Targets(), **settings):  # noqa: B008, is frozen
        config = RunConfig(input=tmp_path, method=methods, **settings)
        return fingerprint(config, Digested(), "bf16", targets)

    assert mark("rollout") == mark("rollout", Targets())
    assert mark("legrad,rollout,article") == mark("legrad,article,rollout")
    assert mark("legrad", discard_ratio=0.5, head_fusion="max") == mark("legrad")  # it doesn't ask for them
    assert mark("legrad,rollout", discard_ratio=0.5) != mark("legrad,rollout")
    marks = [
        mark("rollout"),
        mark("legrad"),
        mark("rollout,legrad"),
        mark("legrad,rollout"),
        mark("legrad", Targets(label=0)),
        mark("legrad", Targets(label=1)),
        mark("legrad", Targets(versus=1)),
        mark("legrad", Targets(label=0, versus=1)),
        mark("legrad", Targets(expected={"a.png": 0}), **expected),
    ]
    assert len(set(marks)) == len(marks)


def test_of_expected_labels_only_a_photos_own_counts():
    before, after = Targets(expected={"a": 0, "b": 1}), Targets(expected={"a": 0, "b": 2, "c": 0})
    marks = [[photo_fingerprint("f", targets, path) for path in "abc"] for targets in (before, after)]
    assert [one == other for one, other in zip(*marks, strict=True)] == [True, False, False]


# Through a whole run


@pytest.fixture
def start(tmp_path, tiny_checkpoint):
    """Runs over tmp_path/photos into tmp_path/out, with a tiny model; returns the summary and the table by path."""
    from tests.helpers.photos import save_photos

    save_photos(tmp_path / "photos", 4)

    def run(**settings):
        model = str(tiny_checkpoint("vit"))
        settings = {
            "input": tmp_path / "photos",
            "out": tmp_path / "out",
            "model": model,
            "precision": "fp32",
        } | settings
        summary = pipeline.run(RunConfig(**settings))
        return summary, pipeline.read_results(settings["out"]).set_index("path")

    return run


def test_columns_say_what_the_maps_explain(start, tmp_path):
    summary, table = start(method="legrad,rollout,libragrad", target="dent", versus="ok")
    assert summary.ok == 4
    for row in table.itertuples():
        assert (row.method, row.target, row.versus) == ("legrad", "dent", "ok")
        maps = dict(row.more_maps)
        assert list(maps) == ["rollout", "libragrad"]
        assert all(len(values) == len(row.attention) == 36 for values in maps.values())
    _, alone = start(method="libragrad", target="dent", versus="ok", out=tmp_path / "alone")
    _, rollout = start(out=tmp_path / "rollout")
    for path, row in table.iterrows():
        maps = dict(row["more_maps"])
        np.testing.assert_allclose(maps["libragrad"], alone.loc[path, "attention"], atol=1e-5)
        np.testing.assert_allclose(maps["rollout"], rollout.loc[path, "attention"], atol=1e-6)
    assert rollout[["more_maps", "target", "versus"]].isna().all(axis=None)
    assert alone["more_maps"].isna().all()


def test_by_default_each_photo_explains_its_own_label(start):
    _, table = start(method="rollout,relevance")
    assert (table["target"].astype(str) == table["label"].astype(str)).all()
    assert table["versus"].isna().all()


def test_a_photo_whose_label_is_set_against_itself_says_so(start, tmp_path):
    csv = tmp_path / "labels.csv"
    csv.write_text("path,label\n" + "".join(f"photo-000{n}.png,{'ok' if n == 2 else 'dent'}\n" for n in range(4)))
    _, table = start(method="libragrad", target="expected", labels=csv, versus="ok")
    note = "target and versus are the same label, so nothing sets them apart"
    assert table["note"].fillna("").tolist() == ["", "", note, ""]
    assert [bool(values.any()) for values in table["attention"]] == [True, True, False, True]
    assert table["overlay"].notna().all()


def test_expected_labels_end_to_end(start, tmp_path):
    csv = tmp_path / "labels.csv"
    csv.write_text("path,expected\nphoto-0000.png,dent\nphoto-0001.png,crack\nphoto-0003.png,5\n")
    expected = {"method": "libragrad", "target": "expected", "labels": csv}
    summary, table = start(**expected)
    assert (summary.ok, summary.failed, summary.exit_code) == (3, 1, 3)
    assert table["target"].astype(object).fillna("-").tolist() == ["dent", "crack", "-", "hole"]
    assert table.loc["photo-0002.png", "error"].startswith("no label is expected of it")
    _, fixed = start(method="libragrad", target="crack", out=tmp_path / "fixed")
    np.testing.assert_allclose(table["attention"].iloc[1], fixed["attention"].iloc[1], atol=1e-6)
    assert np.abs(table["attention"].iloc[0] - fixed["attention"].iloc[0]).max() > 1e-3

    assert start(**expected)[0].processed == 0
    csv.write_text("path,expected\nphoto-0000.png,dent\nphoto-0001.png,hole\nphoto-0002.png,ok\nphoto-0003.png,5\n")
    summary, table = start(**expected)  # a label that changed and one that is new
    assert (summary.processed, summary.ok, summary.done_before) == (2, 2, 2)
    assert table["target"].astype(str).tolist() == ["dent", "hole", "ok", "hole"]


def test_settings_of_a_run_are_in_its_record(start, tmp_path):
    summary, _ = start(method="legrad,rollout", target="dent")
    record = json.loads((tmp_path / "out" / "runs" / f"{summary.run_id}.json").read_text())
    assert record["settings"]["method"] == ["legrad", "rollout"]
    assert (record["settings"]["target"], record["settings"]["versus"]) == ("dent", None)


def test_a_label_that_the_model_does_not_have_stops_before_the_first_photo(start, tmp_path):
    with pytest.raises(ConfigError, match="target = scrach: is not a class of the model, which knows scratch"):
        start(method="legrad", target="scrach")
    assert not (tmp_path / "out").exists()
