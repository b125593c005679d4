"""Which label is explained: names, synonyms and ids, the CSV of expected labels, and what is said of wrong ones."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import pipeline
from pipeline.config import RunConfig
from pipeline.errors import ConfigError, DataError
from pipeline.model.targets import LabelGroup, Targets, find_label, find_targets, read_expected
from tests.helpers.decisions import save_decision

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


def resolve(target, versus=None, names=("ok", "spur", "open"), positive=(), saved=()):
    """The targets, where there is no problem with them."""
    targets, problems = find_targets(target, versus, names, positive, saved)
    assert problems == []
    return targets


def test_defects_are_all_classes_but_the_good_ones_unless_named():
    defects, good = LabelGroup((1, 2), "defects"), LabelGroup((0,), "good")
    assert resolve("defects") == Targets(defects)
    assert resolve("defects", "good") == Targets(defects, versus=good)
    assert resolve("defects", "good", ("Normal", "spur", "open")) == Targets(defects, versus=good)
    assert resolve("defects", "ok") == Targets(defects, versus=LabelGroup((0,)))
    assert resolve("defects", saved=("open",)) == Targets(LabelGroup((2,), "defects"))
    assert resolve("defects", "good", positive=("spur",), saved=("open",)) == Targets(
        LabelGroup((1,), "defects"), versus=LabelGroup((0, 2), "good")
    )
    assert resolve("defects", positive=("2", "spur", "open")) == Targets(defects)
    assert resolve("defects", "good", ("ok", "spur", "spur"), saved=("spur",)) == Targets(defects, versus=good)


def test_a_class_of_the_model_goes_before_the_word_for_a_group():
    assert resolve("defects", None, ("fine", "defects")) == Targets(LabelGroup((1,)))
    assert resolve("defects", None, ("fine", "Defects, flaws")) == Targets(LabelGroup((1,)))
    assert resolve("defects", "good", ("good", "spur")) == Targets(LabelGroup((1,), "defects"), versus=LabelGroup((0,)))
    assert resolve("1", "good", ("good", "spur")) == Targets(LabelGroup((1,)), versus=LabelGroup((0,)))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (("defects", None, ("cat", "dog")), "target = defects: no class is called ok, good, normal, functional, so "),
        (("defects", None, ("cat", "dog"), ("cat", "dog")), "target = defects: all classes count as defects, so nothi"),
        (("defects", None, ("ok", "good")), "target = defects: no class counts as a defect, so nothing tells defects "),
        (("defects", "good", ("cat", "dog")), "name the defects with --positive (cat, dog)"),
        (("defects", None, ("ok", "spur"), ("spurr",)), "target = defects: positive: spurr is not a class of the mod"),
        (("defects", "spur", ("ok", "spur", "open")), "versus = spur: is one of the defects; name another label"),
        (("defects", "spur", ("ok", "spur")), "versus = spur: is one of the defects; name another label"),
        (("spur", "1", ("ok", "spur")), "versus = 1: is the target itself; name another label"),
        (("defects", None, ("ok", "defects"), ("ok",)), "target = defects: is a class of the model, so positive has"),
        (("spur", "good", ("ok", "spur")), "versus = good: stands for all classes but the defects, so it needs target"),
        ((None, "good", ("ok", "spur")), "needs target = defects; name a class"),
        (("good", None, ("ok", "spur")), "target = good: is not a class of the model, which knows ok, spur"),
    ],
    ids=str,
)
def test_groups_that_tell_nothing_apart_are_refused(settings, problem):
    _, (found,) = find_targets(*settings)
    assert problem in found


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
    assert read_expected(labels_csv(text), LABELS, Path("photos")) == {"a.png": 1, "b/c.png": 0}


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
        read_expected(labels_csv(text), LABELS, Path("photos"))


def test_a_csv_that_is_no_utf_8(labels_csv):
    with pytest.raises(DataError, match=r"can't be read as CSV .*save it as UTF-8"):
        read_expected(labels_csv("path,label\nä.png,ok\n", "latin-1"), LABELS, Path("photos"))


# Through a whole run


@pytest.fixture
def start(tmp_path, tiny_checkpoint):
    """Runs over tmp_path/photos into tmp_path/out, with a tiny model; returns the summary and the table by path."""
    from tests.helpers.photos import save_photos

    save_photos(tmp_path / "photos", 4)

    def run(**settings):
        settings = {
            "input": tmp_path / "photos",
            "out": tmp_path / "out",
            "model": str(tiny_checkpoint("vit")),
            "precision": "fp32",
        } | {name: str(value) if name == "model" else value for name, value in settings.items()}
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


def test_evidence_for_any_defect_in_every_photo(start, tmp_path):
    """Positive where it speaks for a defect; set against good, it is the opposite of good against defects."""
    _, evidence = start(target="defects", versus="good", positive="dent,hole", out=tmp_path / "evidence")
    _, others = start(target="defects", versus="good", positive="ok,scratch,stain,crack,other", out=tmp_path / "others")
    assert set(evidence["method"]) == {"libragrad"}
    assert (set(evidence["target"]), set(evidence["versus"])) == ({"defects"}, {"good"})
    for path, row in evidence.iterrows():
        np.testing.assert_allclose(row["attention"], -others.loc[path, "attention"], atol=1e-5)
        assert np.abs(row["attention"]).max() > 1e-3
    summary, _ = start(target="defects", versus="good", positive="hole,2", out=tmp_path / "evidence")
    assert summary.processed == 0, "the same classes, named in another way"


def test_the_defects_are_those_of_the_model_s_decision(start, tmp_path, tiny_checkpoint):
    model = shutil.copytree(tiny_checkpoint("vit"), tmp_path / "model")
    start(target="defects", versus="good", positive="dent,hole", model=model, out=tmp_path / "named")
    save_decision(model, positive=("dent", "hole"))
    _, named = start(target="defects", versus="good", positive="dent,hole", model=model, out=tmp_path / "named")
    _, saved = start(target="defects", versus="good", model=model, out=tmp_path / "saved")
    assert named["fingerprint"].tolist() == saved["fingerprint"].tolist()
    save_decision(model, positive=("dent",))
    summary, _ = start(target="defects", versus="good", model=model, out=tmp_path / "saved")
    assert summary.processed == 4, "other defects, other maps"


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
