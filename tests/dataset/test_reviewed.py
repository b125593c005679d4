"""The photos of a results folder: agreed reviews alone, everything else counted."""

import shutil

import pytest
from PIL import Image

from pipeline.dataset.reviewed import SURE_WEIGHT, is_results_folder, read_reviewed_photos
from pipeline.errors import DataError
from pipeline.labelled.splits import LabelledBox
from pipeline.results.read import read_results
from pipeline.reviews.classes import extend_classes
from tests.helpers.photos import save_photos
from tests.helpers.reviewed_folders import make_photo_row, review_photos, save_results_folder
from tests.helpers.reviews import make_box, make_review, write_reviews
from tests.helpers.tables import FAILED, write_run

NAMES = [f"board-{board}/{view}.png" for board in range(5) for view in range(2)]


@pytest.fixture
def out(tmp_path):
    return save_results_folder(tmp_path, NAMES)


def labels_of(data):
    return {photo.name: photo.label for photo in data.photos}


def rename_class(out, before, after):
    """Rename the last class of a results folder."""
    file = out / "reviews" / "classes.json"
    text = file.read_text().replace(f'"name": "{before}"', f'"name": "{after}"')
    head, tail = text.rsplit('"formerly": []', 1)
    file.write_text(f'{head}"formerly": ["{before}"]{tail}')


def test_agreed_reviews_are_labels(out, tmp_path):
    review_photos(out, {NAMES[3]: "open", NAMES[0]: "ok"})
    data = read_reviewed_photos(out)
    assert labels_of(data) == {NAMES[0]: "ok", NAMES[3]: "open"}
    photo = data.photos[0]
    assert (photo.file, photo.weight, photo.split) == (tmp_path / "photos" / NAMES[0], 1.0, None)
    assert data.sure == ()
    assert (data.root, len(data.contents[NAMES[0]])) == (tmp_path / "photos", 32)


def test_everything_else_is_left_out_and_counted(out, tmp_path, caplog):
    caplog.set_level("INFO")
    review_photos(out, dict.fromkeys(NAMES, "ok"))
    review_photos(out, {}, verdicts={NAMES[0]: "unsure", NAMES[1]: "rejected"})
    review_photos(out, {NAMES[2]: "short"}, who="ben")
    photos = tmp_path / "photos"
    (photos / NAMES[3]).unlink()
    shutil.copy(photos / NAMES[9], photos / NAMES[4])
    save_photos(photos / "board-2", 1, seed=9)
    (photos / "board-2" / "photo-0000.png").replace(photos / NAMES[5])
    write_run(out, photos, [make_photo_row(photos, NAMES[5])])
    write_run(out, photos, [make_photo_row(photos, NAMES[6], **FAILED)])
    data = read_reviewed_photos(out)
    assert sorted(labels_of(data)) == [NAMES[7], NAMES[8], NAMES[9]]
    for reason in ("1 unsure", "1 rejected", "1 disputed", "1 gone", "1 changed since the run", "1 unreadable",
                   "1 replaced by another photo since"):  # fmt: skip
        assert reason in caplog.text


def test_a_file_touched_but_not_changed_keeps_its_label(out, tmp_path):
    review_photos(out, {NAMES[0]: "ok"})
    (tmp_path / "photos" / NAMES[0]).touch()
    assert labels_of(read_reviewed_photos(out)) == {NAMES[0]: "ok"}


def test_copies_of_a_photo_count_once_and_a_moved_one_keeps_its_label(out, tmp_path, caplog):
    caplog.set_level("INFO")
    review_photos(out, {NAMES[0]: "ok", NAMES[1]: "short"})
    photos = tmp_path / "photos"
    shutil.copy(photos / NAMES[0], photos / "copy.png")
    (photos / NAMES[1]).rename(photos / "moved.png")
    write_run(out, photos, [make_photo_row(photos, name) for name in ("copy.png", "moved.png")])
    assert labels_of(read_reviewed_photos(out)) == {NAMES[0]: "ok", "moved.png": "short"}
    assert "1 copies" in caplog.text


def test_photos_that_a_model_is_sure_of(out):
    review_photos(out, {NAMES[0]: "ok"}, verdicts={NAMES[1]: "unsure"})
    sure = read_reviewed_photos(out, least_score=0.75).sure  # all rows have a score of 0.75
    assert {photo.name for photo in sure} == set(NAMES[2:])
    assert {(photo.label, photo.weight) for photo in sure} == {("short", SURE_WEIGHT)}
    assert read_reviewed_photos(out, least_score=0.76).sure == ()


def test_a_renamed_class_counts_under_its_new_name(out):
    review_photos(out, {NAMES[0]: "mousbite"})
    extend_classes(out, ["ok", "mousbite"])
    rename_class(out, "mousbite", "mousebite")
    assert labels_of(read_reviewed_photos(out)) == {NAMES[0]: "mousebite"}


def test_nothing_reviewed_says_what_to_do(out):
    with pytest.raises(DataError, match=r"nothing is reviewed yet; .* vitrollout review"):
        read_reviewed_photos(out)
    review_photos(out, {}, verdicts={NAMES[0]: "unsure"})
    with pytest.raises(DataError, match=r"no reviewed photo is left .*\(left out: 1 unsure\); review more photos"):
        read_reviewed_photos(out)


def test_an_empty_results_folder(tmp_path):
    for name in ("table", "runs"):
        (tmp_path / name).mkdir()
    assert is_results_folder(tmp_path)
    with pytest.raises(DataError, match="no run has finished here"):
        read_reviewed_photos(tmp_path)


def test_a_class_called_table_is_not_a_results_folder(tmp_path):
    save_photos(tmp_path / "table", 1)
    Image.new("RGB", (8, 8)).save(tmp_path / "table" / "part-1.png")
    assert not is_results_folder(tmp_path)


def test_complete_boxes_of_a_review_are_those_of_its_photo(out):
    """A defect without a box, or perhaps with more than its boxes, has no known places."""
    reviews = {
        NAMES[0]: ("short", (make_box(1, 2, 11, 12, "short"), make_box(15, 2.5, 25, 9, "open")), True),
        NAMES[1]: ("ok", (), False),
        NAMES[2]: ("open", (make_box(label="open"),), False),
        NAMES[3]: ("open", (), False),
    }
    hashes = read_results(out, columns=["path", "content_hash"]).set_index("path")["content_hash"]
    write_reviews(
        out,
        [
            make_review(name, label, boxes=boxes, boxes_complete=complete, content_hash=hashes[name])
            for name, (label, boxes, complete) in reviews.items()
        ],
    )
    assert {photo.name: photo.boxes for photo in read_reviewed_photos(out).photos} == {
        NAMES[0]: (LabelledBox("short", (1, 2, 11, 12)), LabelledBox("open", (15, 2.5, 25, 9))),
        NAMES[1]: (),
        NAMES[2]: None,
        NAMES[3]: None,
    }


def test_boxes_of_a_renamed_class_count_under_its_new_name(out):
    content_hash = read_results(out, columns=["path", "content_hash"]).set_index("path").loc[NAMES[0], "content_hash"]
    box = make_box(label="mousbite")
    write_reviews(
        out, [make_review(NAMES[0], "mousbite", boxes=(box,), boxes_complete=True, content_hash=content_hash)]
    )
    extend_classes(out, ["ok", "mousbite"])
    rename_class(out, "mousbite", "mousebite")
    (photo,) = read_reviewed_photos(out).photos
    assert (photo.label, photo.boxes) == ("mousebite", (LabelledBox("mousebite", (1, 2, 11, 12)),))
