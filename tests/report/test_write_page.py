"""The report's page and data files, read as a browser would get them. What people do with it: test_browser.py."""

import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

import pipeline
from pipeline.errors import ConfigError, FolderBusyError, StoreError
from pipeline.folder_lock import FolderLock
from pipeline.report import write_page as report_writing
from pipeline.report.drift import LOW_CONFIDENCE
from pipeline.report.gallery_files import ROWS_PER_FILE
from pipeline.report.write_page import write_report
from pipeline.results.compact import compact
from pipeline.results.folder import ResultsFolder
from pipeline.results.names import thumbnail_name
from pipeline.results.report_age import report_knows_all
from tests.helpers.commands import run_vitrollout
from tests.helpers.photos import save_photos
from tests.helpers.reviews import make_review, write_reviews
from tests.helpers.tables import make_record, make_row, write_run


class Page(HTMLParser):
    """The text of a page, and its tags with their attributes."""

    def __init__(self, html):
        super().__init__()
        self.text, self.tags = "", []
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += f"{data} "


def page_of(out):
    return Page((out / "report.html").read_text())


def data_of(out):
    """The index and all rows, from the files that the page names."""
    body = next(attributes for tag, attributes in page_of(out).tags if tag == "body")
    folder = out / body["data-files"]
    index = json.loads(re.fullmatch(r"vitrolloutIndex\((.*)\);\n", (folder / "index.js").read_text())[1])
    rows = []
    for number in range(len(list(folder.glob("rows-*.js")))):
        content = re.fullmatch(rf"vitrolloutRows\({number}, (.*)\);\n", (folder / f"rows-{number}.js").read_text())
        rows += json.loads(content[1])
    return index, rows


@pytest.fixture
def out(tmp_path):
    """Two runs: the second changes one label and one failure, and adds a photo that is not sure."""
    (tmp_path / "photos").mkdir()
    folder = tmp_path / "out"
    failed = {"status": "failed", "label": None, "score": None, "top_labels": None, "top_scores": None, "overlay": None}
    first = [
        make_row("a.png"),
        make_row("b.png", **failed, error="truncated"),
        make_row("c.png", **failed, error="empty"),
    ]
    write_run(folder, tmp_path / "photos", first)
    write_run(
        folder, tmp_path / "photos", [make_row("a.png", label="ok"), make_row("b.png"), make_row("d.png", score=0.25)]
    )
    return folder


def test_what_the_head_says(out):
    write_report(out)
    text = page_of(out).text
    assert "No run has finished yet; done so far: 4 photos." in text  # `write` writes no record
    assert "New photos: 1. Photos with another label than before: 2." in text
    assert "short ok 1" in text
    assert "failed short 1" in text
    assert "b.png failed → short" in text
    assert "d.png short, 0.25" in text
    assert "Show the 1 below 0.7" in text
    assert "empty 1" in text
    assert "truncated" not in text  # it is not so any more


def test_every_row_is_in_the_data_files(out):
    write_report(out)
    index, rows = data_of(out)
    frame = pipeline.read_results(out)
    assert index["path"] == frame["path"].tolist()
    assert [index["labels"][label] if label >= 0 else "failed" for label in index["label"]] == [
        "ok",
        "short",
        "failed",
        "short",
    ]
    assert index["score"] == [0.75, 0.75, None, 0.25]
    assert [index["runs"][run] for run in index["run"]] == frame["run_id"].tolist()
    assert rows[0]["top"] == [[index["labels"].index("short"), 0.75], [index["labels"].index("ok"), 0.25]]
    assert (rows[0]["size"], rows[0]["overlay"], rows[0]["error"]) == ([30, 20], "overlays/a.png.png", None)
    assert (rows[2]["size"], rows[2]["overlay"], rows[2]["error"], rows[2]["top"]) == (None, None, "empty", [])


def test_rows_are_split_over_files_in_order(tmp_path):
    (tmp_path / "photos").mkdir()
    count = 2 * ROWS_PER_FILE + 1
    write_run(tmp_path / "out", tmp_path / "photos", [make_row(f"{number:05d}.png") for number in range(count)])
    write_report(tmp_path / "out")
    index, rows = data_of(tmp_path / "out")
    assert [row["photo"] for row in rows] == index["path"] == [f"{number:05d}.png" for number in range(count)]


def test_nothing_of_reviews_without_reviews(out):
    write_report(out)
    index, rows = data_of(out)
    assert "review" not in {name.lower() for name in (*index, *rows[0])}
    page = page_of(out)
    assert "eview" not in page.text
    assert [attributes for tag, attributes in page.tags if tag == "select" and attributes["name"] == "review"] == []


def test_reviews_are_counted_and_in_the_data_files(tmp_path):
    (tmp_path / "photos").mkdir()
    failed = {"status": "failed", "label": None, "score": None, "top_labels": None, "top_scores": None}
    rows = [make_row(f"{name}.png", content_hash=name) for name in "abcde"]
    rows.append(make_row("f.png", content_hash="f", **failed))
    write_run(tmp_path / "out", tmp_path / "photos", rows)
    hostile = "<script>alert(1)</script>"
    reviews = [make_review("a.png"), make_review("b.png", hostile), make_review("c.png", None), make_review("f.png")]
    write_reviews(tmp_path / "out", [*reviews, make_review("d.png")])
    write_reviews(tmp_path / "out", [make_review("d.png", "open", who="Ben")])
    write_report(tmp_path / "out")
    index, details = data_of(tmp_path / "out")
    assert index["review"] == ["agrees", "disagrees", "unsure", "disputed", "", "reviewed"]
    assert [row.get("review") for row in details] == [
        "short, by Ann", f"{hostile}, by Ann", "unsure, by Ann", "short, by Ann; open, by Ben", None, "short, by Ann"
    ]  # fmt: skip
    page = page_of(tmp_path / "out")
    assert "Reviews: reviewed 3, agrees 50.0%; 1 disputed, 1 unsure." in page.text
    assert [attributes for tag, attributes in page.tags if tag == "select" and attributes["name"] == "review"]


HOSTILE = [
    "<script>alert(1)</script>.png",
    "\"'&<img src=x onerror=alert(1)>.png",
    "%2e%2e/%2e%2e/x#y?z.png",
    "a\nb\\.png",
]


def test_names_labels_and_reasons_are_data(tmp_path):
    (tmp_path / "photos").mkdir()
    rows = [make_row(path, score=0.1, label="<script>alert(2)</script>") for path in HOSTILE]
    rows.append(
        make_row(
            "broken", status="failed", label=None, score=None, overlay=None, error="</td><script>alert(3)</script>"
        )
    )
    write_run(tmp_path / "<script>out", tmp_path / "photos", rows)
    write_report(tmp_path / "<script>out")
    page = page_of(tmp_path / "<script>out")
    scripts = [attributes["src"] for tag, attributes in page.tags if tag == "script"]
    assert [name.rsplit("/", 1)[1] for name in scripts] == ["report.js", "viewer.js", "index.js"]
    assert not [attributes for _, attributes in page.tags if any(name.startswith("on") for name in attributes)]
    for text in ("<script>alert(1)</script>.png", "<script>alert(2)</script>", "</td><script>alert(3)</script>"):
        assert text in page.text
    index, rest = data_of(tmp_path / "<script>out")
    by_path = dict(zip(index["path"], rest, strict=True))
    assert by_path["%2e%2e/%2e%2e/x#y?z.png"]["photo"] == "%252e%252e/%252e%252e/x%23y%3Fz.png"
    assert '"' not in by_path[HOSTILE[1]]["photo"] + by_path[HOSTILE[1]]["overlay"]


def test_photo_whose_name_is_not_utf_8(tmp_path):
    (tmp_path / "photos").mkdir()
    write_run(tmp_path / "out", tmp_path / "photos", [make_row(r"caf\xe9.png", path_bytes=b"caf\xe9.png")])
    write_report(tmp_path / "out")
    assert data_of(tmp_path / "out")[1][0]["photo"] == "caf%E9.png"


def test_every_run_ends_with_a_report(tmp_path, tiny_vit):
    save_photos(tmp_path / "photos", 3)
    (tmp_path / "photos" / "broken.png").write_bytes(b"")
    done = run_vitrollout("run", tmp_path / "photos", "--out", tmp_path / "out", "--model", tiny_vit)
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout)["report"] == str(tmp_path / "out" / "report.html")
    text = page_of(tmp_path / "out").text
    assert "1 of 4 photos failed: 1 broken; the others are done." in text
    assert "4 photos in" in text
    assert str(tiny_vit) in text
    assert "This is the first run." in text
    _, rows = data_of(tmp_path / "out")
    for row in rows[1:]:
        with Image.open(tmp_path / "out" / row["thumbnail"]) as thumbnail:
            assert thumbnail.size == (96, 40)


def test_no_report_where_none_is_wanted(tmp_path, tiny_vit):
    save_photos(tmp_path / "photos", 1)
    done = run_vitrollout("run", tmp_path / "photos", "--out", tmp_path / "out", "--model", tiny_vit, "--no-report")
    assert done.returncode == 0
    assert "report" not in json.loads(done.stdout)
    assert not (tmp_path / "out" / "report.html").exists()


def test_report_of_a_run_with_nothing_to_do_is_left_alone(tmp_path, tiny_vit):
    save_photos(tmp_path / "photos", 2)
    config = pipeline.RunConfig(input=tmp_path / "photos", out=tmp_path / "out", model=str(tiny_vit))
    pipeline.run(config)
    before = (tmp_path / "out" / "report.html").read_text()
    pipeline.run(config)
    assert (tmp_path / "out" / "report.html").read_text() == before
    save_photos(tmp_path / "photos", 3, seed=1)
    pipeline.run(config)
    assert "All done: 3 photos." in page_of(tmp_path / "out").text
    assert "New photos: 1." in page_of(tmp_path / "out").text


def test_report_says_what_a_run_with_nothing_to_do_found_out(tmp_path, tiny_vit, file_permissions_hold):
    photos, out = tmp_path / "photos", tmp_path / "out"
    save_photos(photos, 2)
    save_photos(photos / "closed", 2)
    settings = {"input": photos, "out": out, "model": str(tiny_vit), "workers": 1}
    pipeline.run(pipeline.RunConfig(**settings, limit=1))
    assert "Done so far: 1 photo; 3 are left. Run the same command again to go on." in page_of(out).text
    pipeline.run(pipeline.RunConfig(**settings))
    assert "All done: 4 photos." in page_of(out).text
    (photos / "closed").chmod(0)
    with file_permissions_hold():
        pipeline.run(pipeline.RunConfig(**settings))
    assert "folders that could not be read: 1." in page_of(out).text
    (photos / "closed").chmod(0o755)
    pipeline.run(pipeline.RunConfig(**settings))
    assert "All done: 4 photos." in page_of(out).text


def test_head_says_what_the_maps_explain(tmp_path, tiny_vit):
    save_photos(tmp_path / "photos", 1)
    settings = {"input": tmp_path / "photos", "out": tmp_path / "out", "model": str(tiny_vit), "workers": 1}
    pipeline.run(pipeline.RunConfig(**settings, method="legrad", target="class-1", versus="class-2"))
    assert "method legrad, heat: class-1 rather than class-2, " in page_of(tmp_path / "out").text
    pipeline.run(pipeline.RunConfig(**settings, method="legrad"))
    assert "method legrad, " in page_of(tmp_path / "out").text
    assert "heat:" not in page_of(tmp_path / "out").text


def test_a_compaction_changes_no_report(out):
    write_report(out)
    before = page_of(out).text
    compact(out)
    assert report_knows_all(out)
    write_report(out)  # by hand: the rows of the run before are gone, so nothing is said of it
    assert "New photos: 1. Photos with another label than before: 2." in before
    assert "New photos" not in page_of(out).text


def test_other_folders_in_report_stay(out):
    (out / "report" / "figures").mkdir(parents=True)
    for _ in range(2):
        write_report(out)
    assert (out / "report" / "figures").is_dir()


def test_results_of_before_there_were_thumbnails(out):
    write_report(out)
    assert [row["thumbnail"] for row in data_of(out)[1]] == [None] * 4


def test_report_by_hand_replaces_the_one_before_and_its_files(out):
    assert json.loads(run_vitrollout("report", out).stdout) == {"report": str(out / "report.html")}
    first = data_of(out)
    run_vitrollout("report", out)
    assert data_of(out) == first
    assert len([file for file in (out / "report").iterdir() if file.is_dir()]) == 1


def test_report_that_fails_leaves_the_one_before(out, monkeypatch):
    write_report(out)
    before = (out / "report.html").read_text(), data_of(out)
    shutil.rmtree(out / "overlays")
    monkeypatch.setattr(report_writing, "_render_page", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(StoreError, match=r"can't write .*report\.html"):
        write_report(out)
    assert ((out / "report.html").read_text(), data_of(out)) == before
    assert len([file for file in (out / "report").iterdir() if file.is_dir()]) == 1


def test_two_reports_at_once(out, monkeypatch):
    (out / "report").mkdir()
    monkeypatch.setattr(report_writing, "_LOCK_SECONDS", 0.01)
    with FolderLock(out / "report", busy=""), pytest.raises(FolderBusyError, match="another report"):
        write_report(out)


def test_what_is_no_results_folder(tmp_path):
    with pytest.raises(ConfigError, match="not a results folder"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_empty_table(tmp_path):
    (tmp_path / "table").mkdir()
    write_report(tmp_path)
    assert "done so far: 0 photos" in page_of(tmp_path).text
    assert f"No photo is below {LOW_CONFIDENCE}" in page_of(tmp_path).text


@pytest.mark.parametrize(
    ("model", "purpose"), [("bundled", "finds cracks"), ("bundled", "tells <screws> apart"), ("models/mine", "x")]
)
def test_the_bundled_model_knows_nothing_else_and_the_page_says_so(out, tmp_path, model, purpose):
    with ResultsFolder(out, tmp_path / "photos") as results:
        settings = {"model": model, "method": ["rollout"]}
        record = make_record(tmp_path / "photos", run_id=results.run_id, purpose=purpose, settings=settings)
        results.write_record(record)
    write_report(out)
    visible = re.sub(r'<p class="quiet">.*?</p>', "", (out / "report.html").read_text(), flags=re.DOTALL)
    warning = f"The bundled model {purpose}, and knows nothing else: on other photos its labels mean nothing."
    assert (warning in Page(visible).text) == (model == "bundled")
    assert (f"Model {model}: {purpose}." in page_of(out).text) == (model != "bundled")


def test_a_large_table_shows_a_choice_and_says_so(out):
    write_report(out, most_shown=3)
    index, rows = data_of(out)
    text = page_of(out).text
    assert len(index["path"]) == len(rows) == 3
    assert "The gallery shows 3 of 4 photos: 1 failed, 1 of 2 with another label than before, 1 new. The" in text
    assert "The filters search these only; pipeline.read_results reads the rest into pandas." in text
    assert "done so far: 4 photos" in text  # the head counts every photo
    assert "Show some of the 1 below" in text
    buttons = [attributes for tag, attributes in page_of(out).tags if tag == "button" and "data-row" in attributes]
    assert {index["path"][int(button["data-row"])] for button in buttons} == {"a.png", "d.png"}


def test_a_small_table_shows_every_photo_without_a_word(out):
    write_report(out, most_shown=4)
    assert len(data_of(out)[0]["path"]) == 4
    assert "gallery shows" not in page_of(out).text


def test_thumbnails_of_the_photos_shown(out):
    name = thumbnail_name("overlays/a.png.png")
    (out / name).parent.mkdir(parents=True)
    (out / name).write_bytes(b"JPEG")
    write_report(out)
    assert [row["thumbnail"] for row in data_of(out)[1]] == [name, None, None, None]


def test_the_gallery_says_how_maps_are_scaled(out):
    write_report(out)
    gallery = page_of(out).text.partition("Photos Each map is scaled by itself: ")[2]
    assert gallery.startswith("its highest values glow, on good parts too.")


UNLIKE = "unlike those that this model learned from"


def test_no_word_of_the_training_photos_in_tables_without_the_column(out):
    write_report(out)
    index, rows = data_of(out)
    assert "nfamiliar" not in " ".join((*index, *rows[0]))
    page = page_of(out)
    assert "unlike" not in page.text
    assert "raining photos" not in page.text
    assert [attributes for tag, attributes in page.tags if tag == "select" and attributes["name"] == "familiar"] == []


def write_photos(tmp_path, *unfamiliar):
    """Write a run over one photo for each value; return the results folder."""
    (tmp_path / "photos").mkdir(exist_ok=True)
    rows = [make_row(f"{number}.png", unfamiliar=value) for number, value in enumerate(unfamiliar)]
    write_run(tmp_path / "out", tmp_path / "photos", rows)
    write_report(tmp_path / "out")
    return tmp_path / "out"


def test_unfamiliar_photos_are_counted_and_named(tmp_path):
    out = write_photos(tmp_path, 0.5, 0.995, 0.99, 0.1, 0.999)
    index, _ = data_of(out)
    assert index["unfamiliar"] == pytest.approx([0.5, 0.995, 0.99, 0.1, 0.999], abs=1e-6)
    assert [value > index["unfamiliarFrom"] for value in index["unfamiliar"]] == [False, True, False, False, True]
    page = page_of(out)
    assert f"2 of 5 photos are {UNLIKE}." in page.text
    assert "mean little" not in page.text
    assert "Unlike the training photos 2 photos." in page.text
    buttons = [attributes for tag, attributes in page.tags if tag == "button" and "data-row" in attributes]
    assert [button["data-row"] for button in buttons] == ["4", "1"]  # the least familiar first
    assert [attributes for tag, attributes in page.tags if tag == "select" and attributes["name"] == "familiar"]


def test_banner_of_mostly_unfamiliar_photos(tmp_path):
    out = write_photos(tmp_path, 0.5, 0.995, 0.995)
    warned = r'<p class="verdict warn"[^>]*>67% of these photos are ' + UNLIKE + "; its labels for them mean little"
    assert re.search(warned, (out / "report.html").read_text())


def test_all_photos_are_familiar(tmp_path):
    page = page_of(write_photos(tmp_path, 0.5, 0.2))
    assert f"No photo is {UNLIKE}." in page.text
    assert "Unlike the training photos" not in page.text


def test_banner_of_a_last_run_unlike_the_others(tmp_path):
    out = write_photos(tmp_path, *[0.5] * 40)
    write_run(out, tmp_path / "photos", [make_row("new.png", unfamiliar=1.0), make_row("more.png", unfamiliar=0.2)])
    write_report(out)
    assert f"50% of the last run's photos (1 of 2) are {UNLIKE}; its labels" in page_of(out).text


def test_the_map_comes_with_embeddings(out, tmp_path):
    write_report(out)
    scripts = [attributes["src"] for tag, attributes in page_of(out).tags if tag == "script"]
    assert not [name for name in scripts if "map" in name]
    assert "Map of the photos" not in page_of(out).text
    rows = [make_row(f"{number}.png", embedding=np.float32([number, number**2])) for number in range(4)]
    write_run(out, tmp_path / "photos", rows)
    write_report(out)
    page = page_of(out)
    scripts = [attributes["src"] for tag, attributes in page.tags if tag == "script"]
    names = [name.rsplit("/", 1)[1] for name in scripts]
    assert names == ["report.js", "viewer.js", "map_legend.js", "map_view.js", "index.js", "map.js"]
    assert all((out / name).is_file() for name in scripts)
    assert "The map shows 4 of 7 photos (PCA, 100% of the variance)." in page.text


@pytest.mark.parametrize(
    ("scale", "kept", "one"),
    [("photo", "run", False), (None, "run", False), (2.5, "", True), ("run", "run", True), ("run", "model", False),
     ("auto", "model", True), ("auto", "", False), ("model", "model", True)],
)  # fmt: skip
def test_the_gallery_of_maps_on_one_scale(out, tmp_path, scale, kept, one):
    with ResultsFolder(out, tmp_path / "photos") as results:
        settings = {"model": "mine", "method": ["legrad"]} | ({"scale": scale} if scale else {})
        record = make_record(tmp_path / "photos", run_id=results.run_id, settings=settings, fingerprint="f1-decision")
        results.write_record(record)
    if kept:
        (out / "runs" / f"f1.{kept}-scale").write_text("{}")
    write_report(out)
    text = page_of(out).text
    assert ("The maps of the last run are on one scale" in text) == one
    assert ("Each map is scaled by itself" in text) == (not one)
