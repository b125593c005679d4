import json
import logging
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.errors import ConfigError, DataError
from pipeline.reviews.record import ReviewBox
from tests.export.formats.written import FLORENCE2_FOLDERS, files_of, read_florence2_lines, write_export
from tests.helpers.florence2 import BINS, make_processor


@pytest.fixture(scope="module")
def processor():
    return make_processor(["Locate the objects with category name in the image.", "open short spur ok"])


@pytest.mark.parametrize(
    ("task", "token"),
    [("od", "<OD>"), ("dense", "<DENSE_REGION_CAPTION>"), ("grounding", "<CAPTION_TO_PHRASE_GROUNDING>")],
)
def test_every_answer_gives_its_boxes_back_within_one_bin(archive, tmp_path, processor, task, token):
    lines = read_florence2_lines(write_export(archive, tmp_path / "data", "florence2", task=task))
    found = 0
    for line in lines:
        with Image.open(line["file"]) as picture:
            size = picture.size
        assert line["prefix"].startswith(token)
        answer = processor.post_process_generation(line["suffix"], task=token, image_size=size)[token]
        defect = archive.defects.get(line["path"])
        if defect is None:
            assert line["suffix"] == ""
            continue
        found += 1
        assert answer["labels"] == [f"the {defect.label}" if task == "grounding" else defect.label]
        bin_sizes = np.array([*size, *size]) / BINS
        assert (np.abs(np.array(answer["bboxes"][0]) - defect.box) <= np.maximum(bin_sizes, 1)).all()
    assert found == len(archive.defects)
    assert len(lines) == len(archive.labels)


def test_the_processor_takes_every_question(archive, tmp_path, processor):
    for task in ("od", "dense", "grounding"):
        lines = read_florence2_lines(write_export(archive, tmp_path / task, "florence2", task=task))
        texts = processor._construct_prompts([line["prefix"] for line in lines])
        assert all(text.startswith("Locate the") for text in texts)


def test_captions_to_ground_do_not_give_the_answer_away(archive, tmp_path):
    lines = read_florence2_lines(write_export(archive, tmp_path / "data", "florence2", task="grounding"))
    with_defect = {line["prefix"] for line in lines if line["suffix"]}
    without = {line["prefix"] for line in lines if not line["suffix"]}
    assert with_defect == {f"<CAPTION_TO_PHRASE_GROUNDING>the {label}" for label in ("open", "short")}
    assert without <= with_defect
    assert len(without) == 2


def test_boxes_come_by_class_and_every_class_is_grounded_once(archive, tmp_path):
    boxes = (
        ReviewBox(40, 5, 50, 15, "short"),
        ReviewBox(20, 20, 30, 30, "open"),
        ReviewBox(10, 20, 15, 30, "open"),
        ReviewBox(1, 2, 10, 10, "open"),
    )
    path = next(iter(archive.defects))
    archive.review(path, label="open", boxes=boxes)
    write_export(archive, tmp_path / "od", "florence2")
    [line] = [line for line in read_florence2_lines(tmp_path / "od") if line["path"] == path]
    assert re.findall(r"[a-z]+(?=<loc)", line["suffix"]) == ["open"] * 3 + ["short"]
    assert line["suffix"].startswith("open<loc_15><loc_41><loc_156><loc_208>open<loc_156><loc_416>")
    write_export(archive, tmp_path / "grounding", "florence2", task="grounding")
    [line] = [line for line in read_florence2_lines(tmp_path / "grounding") if line["path"] == path]
    assert line["prefix"].endswith(">the open and the short")
    assert line["suffix"].count("the open<loc_15>") == line["suffix"].count("the ") - 1 == 1


def test_notes_describe_regions_and_labels_stand_in_for_notes_it_can_not_hold(archive, tmp_path, caplog):
    path, defect = next(iter(archive.defects.items()))
    boxes = [ReviewBox(*defect.box, "open", note="a gap of 2 mm"), ReviewBox(0, 0, 9, 9, "open", note="größer")]
    archive.review(path, label="open", boxes=tuple(boxes))
    write_export(archive, tmp_path / "data", "florence2", task="dense")
    [line] = [line for line in read_florence2_lines(tmp_path / "data") if line["path"] == path]
    assert "a gap of 2 mm<loc_" in line["suffix"]
    assert line["suffix"].startswith("open<loc_0>")
    assert "1 of 2 notes can't be held" in caplog.text


def test_captions_follow_the_template(archive, tmp_path):
    write_export(archive, tmp_path / "data", "florence2", task="caption", caption="a {label} at the {where}")
    captions = {line["suffix"] for line in read_florence2_lines(tmp_path / "data")}
    assert captions == {"ok", "a open at the upper right", "a short at the upper right"}


@pytest.mark.parametrize("caption", [None, "no field", "{size}"])
def test_a_caption_without_a_usable_template_is_refused(archive, tmp_path, caption):
    with pytest.raises(ConfigError, match="caption"):
        write_export(archive, tmp_path / "data", "florence2", task="caption", caption=caption)
    assert not (tmp_path / "data").exists()


def test_labels_it_can_not_hold_are_refused_before_writing_and_named(archive, tmp_path):
    paths = list(archive.defects)[:2]
    for path, label in zip(paths, ("kratzer ö", "x<y"), strict=True):
        archive.review(path, label=label, boxes=(ReviewBox(*archive.defects[path].box, label),))
    with pytest.raises(DataError, match=r"can't hold 2 of 4 labels.*--rename") as refusal:
        write_export(archive, tmp_path / "data", "florence2")
    assert refusal.value.exit_code == 2
    assert "'kratzer ö' has characters other than ASCII" in str(refusal.value)
    assert "'x<y' has a <" in str(refusal.value)
    assert not (tmp_path / "data").exists()

    renames = tmp_path / "names.csv"
    renames.write_text("label,name\nkratzer ö,scratch\nx<y,x under y\n", "utf-8")
    lines = read_florence2_lines(write_export(archive, tmp_path / "data", "florence2", rename=renames))
    assert {line["suffix"].partition("<")[0] for line in lines} == {"", "open", "short", "scratch", "x under y"}


def test_a_label_never_grounded_is_refused_for_grounding_alone(archive, tmp_path):
    path = next(iter(archive.defects))
    archive.review(path, label="image", boxes=(ReviewBox(*archive.defects[path].box, "image"),))
    write_export(archive, tmp_path / "od", "florence2")
    with pytest.raises(DataError, match="'the image', never grounded"):
        write_export(archive, tmp_path / "grounding", "florence2", task="grounding")


def test_empty_splits_exist_and_photos_without_a_defect_are_counted(archive, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    data = write_export(archive, tmp_path / "data", "florence2", shares="1,0,0")
    for split in ("valid", "test"):
        assert (data / split / "annotations.jsonl").read_bytes() == b""
    assert "12 of 37 photos have no defect and an empty answer" in caplog.text


def test_ok_share_limits_empty_answers(archive, tmp_path):
    lines = read_florence2_lines(write_export(archive, tmp_path / "data", "florence2", ok_share=0.2))
    empty = sum(not line["suffix"] for line in lines)
    assert 0 < empty <= 0.2 * len(lines)


def test_boxes_under_two_bins_are_counted_with_the_remedy(archive, tmp_path, caplog):
    path = next(iter(archive.defects))
    archive.review(path, boxes=(ReviewBox(10, 10, 10.05, 20, archive.labels[path]),))
    write_export(archive, tmp_path / "data", "florence2")
    assert "1 of 25 boxes are under two of its 1,000 bins" in caplog.text
    assert "--tiles" in caplog.text


def test_the_card_tells_how_to_train(archive, tmp_path):
    card = (write_export(archive, tmp_path / "data", "florence2") / "README.md").read_text("utf-8")
    assert "= -100" in card
    assert "Florence2ForConditionalGeneration" in card


def test_the_same_tiles_twice_are_the_same_bytes(archive, tmp_path):
    settings = {"tiles": 40, "task": "grounding", "ok_share": 0.5}
    first, second = (
        files_of(write_export(archive, tmp_path / each, "florence2", **settings)) for each in ("first", "second")
    )
    assert first == second


def test_tiles_give_their_boxes_back(archive, tmp_path, processor):
    lines = read_florence2_lines(write_export(archive, tmp_path / "data", "florence2", tiles=40))
    shown = [line for line in lines if line["suffix"]]
    assert {line["path"] for line in shown} == set(archive.defects)
    for line in shown:
        picture = np.asarray(Image.open(line["file"]).convert("RGB")).astype(int)
        answer = processor.post_process_generation(line["suffix"], task="<OD>", image_size=picture.shape[1::-1])["<OD>"]
        x0, y0, x1, y1 = answer["bboxes"][0]
        colour = archive.defects[line["path"]].colour
        assert np.abs(picture[(y0 + y1) // 2, (x0 + x1) // 2] - colour).max() < 40


def test_tiles_are_counted_and_stay_in_the_split_of_their_photo(archive, tmp_path):
    data = write_export(archive, tmp_path / "data", "florence2", tiles=40)
    pictures = [file for split in FLORENCE2_FOLDERS for file in (data / split).glob("*.png")]
    about = json.loads((data / "export.json").read_text("utf-8"))
    assert about["tiles"] == {"side": 40, "pictures": len(pictures), "photos": len(archive.labels)}
    assert "overlapping tiles" in (data / "README.md").read_text("utf-8")
    rows = pq.read_table(data / "manifest.parquet").to_pylist()
    assert {row["path"] for row in rows} == set(archive.labels)
    assert all(len({tile.partition("/")[0] for tile in row["tiles"]}) == 1 for row in rows)
    assert sum(len(row["tiles"]) for row in rows) == len(pictures)
