"""A desk in this process. The server around it is tested in test_serve and test_security."""

import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.review.refusals import BadRequestError, UnknownPhotoError
from pipeline.reviews.classes import read_classes
from pipeline.reviews.read import read_reviews
from tests.helpers.review_desk import PHOTOS, decide
from tests.helpers.review_server import photo_row
from tests.helpers.tables import FAILED, make_row, write_run


def test_decision_is_in_the_folder_and_in_the_answer(out, open_desk):
    desk = open_desk()
    answer = decide(desk, 3, "open", seconds=2.5)
    assert (answer["repeated"], answer["verdict"]) == (False, "corrected")
    assert answer["row"]["truth"]["label"] == "open"
    assert answer["counts"]["by_verdict"]["corrected"] == answer["counts"]["reviewed"] == 1
    assert (answer["counts"]["seconds_median"], answer["counts"]["left"]) == (2.5, PHOTOS - 1)
    (record,) = read_reviews(out).to_dict("records")
    assert (record["path"], record["label"], record["label_before"]) == ("photo-0003.png", "open", "short")
    assert (record["session"], record["order"], record["run_id"]) == (
        desk.session,
        "mixed",
        desk.rows.value("run_id", 3),
    )


def test_resent_record_is_written_once(out, open_desk):
    desk = open_desk()
    first = decide(desk, 0, "ok", id="1" * 32)
    again = decide(desk, 0, "ok", id="1" * 32)
    assert (first["repeated"], again["repeated"]) == (False, True)
    assert again["counts"] == first["counts"]
    assert decide(open_desk(), 0, "ok", id="1" * 32)["repeated"]
    assert len(read_reviews(out)) == 1


def test_undo_goes_back_one_by_one(out, open_desk):
    desk = open_desk()
    first = decide(desk, 0, "ok")["id"]
    second = decide(desk, 0, "open", replaces=[first])["id"]
    assert [each["id"] for each in desk.undo_stack()] == [first, second]
    answer = decide(desk, 0, verdict="withdrawn", replaces=[second])
    assert answer["row"]["truth"]["label"] == "ok"
    assert [each["id"] for each in desk.undo_stack()] == [first]
    answer = decide(desk, 0, verdict="withdrawn", replaces=[first])
    assert answer["row"]["truth"] is None
    assert [each["id"] for each in desk.undo_stack()] == []
    assert answer["counts"]["left"] == PHOTOS
    assert read_reviews(out)["verdict"].tolist() == ["confirmed", "corrected", "withdrawn", "withdrawn"]


def test_undo_of_an_earlier_session_of_the_same_person_only(open_desk):
    first = decide(open_desk(), 0, "ok")["id"]
    with pytest.raises(BadRequestError, match="a record of yours about this photo"):
        decide(open_desk(who="ben"), 0, verdict="withdrawn", replaces=[first])
    with pytest.raises(BadRequestError, match="a record of yours about this photo"):
        decide(open_desk(), 1, verdict="withdrawn", replaces=[first])
    with pytest.raises(BadRequestError, match="a record of yours"):
        decide(open_desk(), 0, verdict="withdrawn")
    assert decide(open_desk(), 0, verdict="withdrawn", replaces=[first])["row"]["truth"] is None


def test_two_people_disagree_and_a_third_record_resolves_it(open_desk):
    anna, ben = open_desk(), open_desk(who="ben")
    ids = [decide(anna, 5, "ok")["id"], decide(ben, 5, "open")["id"]]
    position, rows = anna.changes_since(0)
    assert (position, rows) == (1, [5])
    truth = anna.describe(5)["truth"]
    assert (truth["state"], sorted(truth["answers"]), list(truth["records"])) == ("disputed", ["ok", "open"], ids)
    assert anna.counts()["disputed"] == 1
    carl = open_desk(who="carl", order="disputed")
    assert carl.queue.rows.tolist() == [5]
    assert decide(carl, 5, "open", replaces=ids)["row"]["truth"]["state"] == "reviewed"
    assert anna.changes_since(position) == (2, [5])
    assert anna.changes_since(2) == (2, [])
    assert anna.describe(5)["truth"]["label"] == "open"
    assert anna.counts()["disputed"] == 0


def test_own_decisions_are_no_changes_by_others(open_desk):
    desk = open_desk()
    decide(desk, 0, "ok")
    assert desk.changes_since(0) == (0, [])


def test_photos_decided_by_others_count_as_done(open_desk):
    anna, ben = open_desk(), open_desk(who="ben")
    decide(ben, 2, "ok")
    anna.changes_since(0)
    assert anna.counts()["left"] == PHOTOS - 1
    assert open_desk(who="carl").counts()["left"] == PHOTOS - 1
    assert open_desk(who="carl", second_opinion=True).counts()["left"] == PHOTOS


def test_audit_hides_the_model_until_a_record_exists(open_desk):
    desk = open_desk(audit=1, order="audit")
    row = int(desk.queue.rows[0])
    shown = desk.describe(row)
    assert (shown["blind"], shown["label"], shown["score"], shown["top"]) == (True, None, None, [])
    assert (shown["reason"], shown["overlay"], shown["methods"]) == ("audit", False, [])
    answer = decide(desk, row, desk.rows.value("label", row))
    assert (answer["verdict"], answer["row"]["blind"]) == ("confirmed", False)
    assert answer["row"]["label"] == desk.rows.value("label", row)
    assert answer["counts"]["estimate"]["photos"] == answer["counts"]["estimate"]["correct"] == 1
    withdrawn = decide(desk, row, verdict="withdrawn", replaces=[answer["id"]])
    assert withdrawn["counts"]["estimate"] is None
    assert not withdrawn["row"]["blind"]  # seen is seen


def test_only_photos_of_the_queue_tell_its_order(out, open_desk):
    """A photo found by its likeness to another one is no fair sample."""
    desk = open_desk(where="label==ok", order="random")
    decide(desk, 0, "ok")
    decide(desk, 1, "ok")
    assert read_reviews(out)["order"].tolist() == ["random where label==ok", ""]


def test_records_tell_whether_the_model_was_hidden(out, open_desk):
    desk = open_desk(audit=1)
    decide(desk, 0, "ok")
    decide(desk, 0, "open")
    assert read_reviews(out)["blind"].tolist() == [True, False]


def test_audit_asks_again_about_photos_reviewed_in_another_order(open_desk):
    decide(open_desk(order="margin"), 0, "open")
    desk = open_desk(audit=1, order="audit")
    assert 0 in desk.queue.rows
    assert (desk.describe(0)["blind"], desk.describe(0)["truth"]) == (True, None)
    assert desk.counts()["estimate"] is None
    assert decide(desk, 0, "open")["counts"]["estimate"]["photos"] == 1
    assert 0 not in open_desk(audit=1, order="audit").queue.rows


def test_no_audit_of_a_part_of_the_photos(open_desk):
    desk = open_desk(audit=1, order="audit", where="label==ok")
    assert len(desk.queue.rows) == 0
    assert desk.warnings == ("nothing to show: the audit is a sample of all photos; leave out --where",)
    desk = open_desk(audit=1, order="random", where="label==ok")
    assert decide(desk, int(desk.queue.rows[0]), "ok")["counts"]["estimate"] is None


def test_second_opinion_is_blind_to_the_first(open_desk):
    decide(open_desk(who="ben", audit=1), 0, "ok")
    assert not open_desk(audit=1).describe(0)["blind"]
    shown = open_desk(audit=1, second_opinion=True).describe(0)
    assert (shown["blind"], shown["truth"]) == (True, None)


def test_second_opinion_sees_the_first_once_given(open_desk):
    """Outside the audit too: seen before, it would be repeated, and its record replaced."""
    first = decide(open_desk(who="ben"), 0, "ok")["id"]
    assert open_desk().describe(0)["truth"]["who"] == ("ben",)
    desk = open_desk(second_opinion=True, audit=0)
    assert (desk.describe(0)["blind"], desk.describe(0)["truth"]) == (False, None)
    answer = decide(desk, 0, "open")
    assert desk.describe(0)["truth"]["state"] == "disputed"
    assert set(desk.describe(0)["truth"]["records"]) == {first, answer["id"]}


def test_estimate_counts_wrong_and_unsure_answers(open_desk):
    desk = open_desk(audit=1)
    decide(desk, 0, desk.rows.value("label", 0))
    decide(desk, 1, "open")
    decide(desk, 2, verdict="unsure")
    estimate = decide(desk, 3, verdict="rejected")["counts"]["estimate"]
    assert (estimate["photos"], estimate["correct"], estimate["unsure"]) == (2, 1, 1)
    assert open_desk(audit=1).counts()["estimate"] == estimate


def test_classes_of_the_model_come_first_and_new_ones_behind(out, open_desk):
    desk = open_desk(classes="burr")
    assert [each.name for each in desk.classes] == ["ok", "short", "open", "burr"]
    desk.add_class("dent ")
    assert [each.id for each in read_classes(out)] == [0, 1, 2, 3, 4]
    assert decide(desk, 0, "dent")["verdict"] == "corrected"
    for name in ("dent", "", " ", "x" * 101, "a\nb"):
        with pytest.raises(BadRequestError):
            desk.add_class(name)


def test_class_added_by_somebody_else(open_desk):
    anna, ben = open_desk(), open_desk(who="ben")
    ben.add_class("burr")
    anna.changes_since(0)
    assert anna.classes[-1].name == "burr"


def test_changed_photo_keeps_its_old_review_as_stale(tmp_path, out, open_desk):
    decide(open_desk(), 0, "open")
    photo = tmp_path / "photos" / "photo-0000.png"
    photo.write_bytes((tmp_path / "photos" / "photo-0001.png").read_bytes() + b"\0")
    write_run(out, tmp_path / "photos", [photo_row(tmp_path / "photos", "photo-0000.png")])
    desk = open_desk()
    truth = desk.describe(0)["truth"]
    assert (truth["stale"], truth["label"]) == (True, "open")
    assert 0 in desk.queue.rows
    assert desk.counts()["reviewed"] == 0


def test_decision_about_a_photo_no_longer_there(open_desk):
    with pytest.raises(UnknownPhotoError, match="no photo of this review has this content"):
        decide(open_desk(), 0, "ok", content_hash="ff" * 16)


def test_copies_share_a_decision_under_the_path_shown(out, tmp_path, open_desk):
    source = tmp_path / "photos"
    (source / "copy.png").write_bytes((source / "photo-0007.png").read_bytes())
    write_run(out, source, [photo_row(source, "copy.png")])
    desk = open_desk()
    first, second = desk.rows.find_hash(desk.rows.value("content_hash", 0)).tolist()
    answer = decide(desk, second, "ok", shown=second)
    assert answer["row"]["row"] == second
    assert desk.describe(first)["truth"]["label"] == "ok"
    assert read_reviews(out)["path"].tolist() == [desk.rows.value("path", second)]
    assert decide(desk, first, "ok", shown=5)["row"]["row"] == first  # a number of another photo, from before a restart


def test_warnings(tmp_path, out, open_desk):
    assert open_desk().warnings == ()
    other = {"model": "other", "top_labels": ["z", "ok"], "label": "z", "logits": np.array([2, 1], np.float32)}
    write_run(out, tmp_path / "photos", [make_row("gone.png", **FAILED), make_row("z.png", **other)])
    (tmp_path / "photos").rename(tmp_path / "moved")
    desk = open_desk()
    failed, models, gone = desk.warnings
    assert failed.startswith("1 failed photos are left out")
    assert "models with different classes (models/three, other)" in models
    assert "photos is gone, so photos can't be shown" in gone
    assert [each.name for each in desk.classes] == ["ok", "short", "open", "z"]


def test_a_condition_narrows_the_queue(open_desk):
    desk = open_desk(where="label==short and score<0.8")
    assert len(desk.queue.rows)
    for row in desk.queue.rows:
        assert desk.rows.value("label", int(row)) == "short"
        assert desk.rows.value("score", int(row)) < 0.8


def test_methods_beside_the_main_one(open_desk):
    assert open_desk().describe(0)["methods"] == ["libragrad"]


def test_not_a_results_folder(tmp_path, open_desk):
    with pytest.raises(ConfigError, match="is not a results folder"):
        open_desk(out=tmp_path)
    assert list(tmp_path.glob("reviews")) == []
