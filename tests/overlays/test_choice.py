"""The setting `overlays`: what it can say, and the photos chosen by it."""

import pytest
from PIL import ExifTags, Image

import pipeline
from pipeline.errors import ConfigError
from pipeline.overlays.choice import parse_overlay_choice
from pipeline.results.names import thumbnail_name
from tests.helpers.decisions import save_decision
from tests.helpers.models import save_tiny_vit
from tests.helpers.photos import save_photos

IMAGENET = ("tench, Tinca tinca", "goldfish", "ok")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("none", []),
        ("all", ["good", "bad", "rejected", "reviewed", "passed", "sampled", "failed photo"]),
        ("failed", ["bad", "rejected", "reviewed", "sampled"]),
        ("below:0.8", ["bad", "rejected"]),
        (" below: .8 ", ["bad", "rejected"]),
        ("label:short", ["bad", "passed", "sampled"]),
        ("label: open , ok", ["good", "rejected", "reviewed"]),
        ("sample:5", ["sampled"]),
    ],
)
def test_photos_of_each_choice(text, wanted):
    rows = {
        "good": ("ok", 0.9, None, False),
        "bad": ("short", 0.7, None, False),
        "rejected": ("open", 0.3, "reject", False),
        "reviewed": ("ok", 0.8, "review", False),
        "passed": ("short", 0.9, "pass", False),
        "sampled": ("short", 0.95, None, True),
        "failed photo": (None, None, None, False),
    }
    choice = parse_overlay_choice(text).resolve_labels(("ok", "short", "open"))
    found = [
        name
        for name, (label, score, decision, sampled) in rows.items()
        if choice.wants(label, score, decision, sampled=sampled)
    ]
    assert found == wanted


@pytest.mark.parametrize(
    ("typed", "labels"),
    [
        ("label:tench, Tinca tinca,OK", ("tench, Tinca tinca", "ok")),
        ("label:1,tench", ("goldfish", "tench, Tinca tinca")),
        ("label:goldfish,tench,Tinca tinca", ("goldfish", "tench, Tinca tinca")),
    ],
)
def test_labels_with_commas_synonyms_and_ids(typed, labels):
    assert parse_overlay_choice(typed).resolve_labels(IMAGENET).labels == labels


@pytest.fixture
def start(tmp_path, tiny_vit):
    """Runs over six photos into tmp_path/out, with a tiny model."""
    save_photos(tmp_path / "photos", 6)
    common = {"input": tmp_path / "photos", "out": tmp_path / "out", "model": str(tiny_vit), "workers": 1}
    return lambda **settings: pipeline.run(**common | {"precision": "fp32"} | settings)


def drawn(out):
    """Return the paths with an overlay, after a look at their files."""
    overlays = pipeline.read_results(out, ["path", "overlay"]).set_index("path")["overlay"].dropna()
    pictures = {file.relative_to(out).as_posix() for file in (out / "overlays").rglob("*.png")}
    assert pictures == set(overlays)
    thumbnails = {file.relative_to(out).as_posix() for file in (out / "thumbnails").rglob("*.jpg")}
    assert thumbnails == set(map(thumbnail_name, overlays))
    return set(overlays.index)


@pytest.mark.parametrize("choice", [{"overlays": "none"}, {"overlay_size": "none"}], ids=str)
def test_a_run_without_overlays(tmp_path, start, choice):
    start(**choice)
    assert drawn(tmp_path / "out") == set()
    assert (tmp_path / "out" / "report.html").exists()


def test_a_run_draws_what_is_below_a_score(tmp_path, start):
    start(overlays="none")
    scores = pipeline.read_results(tmp_path / "out").set_index("path")["score"]
    limit = round(float(scores.sort_values().iloc[2:4].mean()), 9)
    start(overlays=f"below:{limit:.9f}", out=tmp_path / "again")
    assert drawn(tmp_path / "again") == set(scores.index[scores < limit])
    assert 0 < len(drawn(tmp_path / "again")) < 6


def test_few_overlays_are_the_same_pictures_as_among_all(tmp_path, start):
    """With few overlays, photos are decoded once more to be drawn: large ones reduced, turned ones upright."""
    save_photos(tmp_path / "photos", 40)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for number in (3, 30):
        with Image.open(tmp_path / "photos" / f"photo-{number:04d}.png") as photo:
            photo.resize((1600, 1200)).save(tmp_path / "photos" / f"photo-{number:04d}.jpg", exif=exif)
    start(report=False)
    scores = pipeline.read_results(tmp_path / "out").set_index("path")["score"]
    limit = max(scores["photo-0003.jpg"], scores["photo-0030.jpg"]) + 1e-7
    start(overlays=f"below:{limit:.9f}", out=tmp_path / "again", report=False)
    few = drawn(tmp_path / "again")
    assert {"photo-0003.jpg", "photo-0030.jpg"} <= few
    assert len(few) < 42
    for picture in (tmp_path / "again" / "overlays").rglob("*.png"):
        name = picture.relative_to(tmp_path / "again")
        assert picture.read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_a_run_draws_labels_and_another_choice_alone_is_no_reason_to_run_again(tmp_path, start):
    start(overlays="none")
    labels = pipeline.read_results(tmp_path / "out").set_index("path")["label"]
    label = labels.mode()[0]
    assert start(overlays=f"label:{label}").processed == 0
    start(overlays=f"label:{label}", out=tmp_path / "again")
    assert drawn(tmp_path / "again") == set(labels.index[labels == label])


def test_a_run_draws_a_sample_the_same_one_every_time(tmp_path, start):
    start(overlays="sample:2", report=False)
    start(overlays="sample:2", out=tmp_path / "again", part_rows=2, report=False)
    assert drawn(tmp_path / "out") == drawn(tmp_path / "again")
    assert len(drawn(tmp_path / "again")) == 2


def test_a_run_draws_what_failed_inspection_by_the_decision(tmp_path, start):
    model = save_tiny_vit(tmp_path / "model")
    start(model=str(model), overlays="none", report=False)
    rows = pipeline.read_results(tmp_path / "out").set_index("path")
    label = rows["top_labels"].iloc[0][0]
    chances = rows.apply(lambda row: row["top_scores"][list(row["top_labels"]).index(label)], axis="columns")
    save_decision(model, positive=(label,), pass_below=float(chances.median()), reject_from=1.0)
    start(model=str(model), overlays="failed", out=tmp_path / "again", report=False)
    decisions = pipeline.read_results(tmp_path / "again").set_index("path")["decision"]
    assert drawn(tmp_path / "again") == set(decisions.index[decisions != "pass"])
    assert 0 < len(drawn(tmp_path / "again")) < 6


def test_an_unknown_label_is_named_with_the_nearest_before_the_first_photo(tmp_path, start, tiny_vit):
    label = pipeline.load_model(str(tiny_vit)).classifier.labels[0]
    with pytest.raises(ConfigError, match=f"overlays = label:{label}x: {label}x is not a class .* knows .*{label}"):
        start(overlays=f"label:{label}x")
    assert not (tmp_path / "out").exists()
