"""Many records of a photo -> the truth: replaced, withdrawn, agreed, disputed."""

import random
from dataclasses import replace

import pytest

from pipeline.reviews.read import read_review_table
from pipeline.reviews.truth import boxes_match, find_standing, resolve_truths
from tests.helpers.reviews import make_box, make_review, withdraw, write_reviews


@pytest.fixture
def resolve(tmp_path):
    """A function from records to the truths of their photos, by way of the disk."""

    def write_and_resolve(*records):
        write_reviews(tmp_path, records)
        return resolve_truths(read_review_table(tmp_path))

    return write_and_resolve


@pytest.fixture
def truth_of(resolve):
    """A function from records of one photo to its truth, None without one."""
    return lambda *records: resolve(*records).get("a")


def test_one_record_is_the_truth(truth_of):
    record = make_review(boxes=(make_box(),), boxes_complete=True, fingerprint="f1", label_before="open")
    truth = truth_of(record)
    assert (truth.state, truth.label, truth.verdict, truth.answers) == ("reviewed", "short", "confirmed", ("short",))
    assert (truth.boxes, truth.boxes_complete, truth.who, truth.records) == (
        (make_box(),),
        True,
        ("Ann",),
        (record.id,),
    )
    assert (truth.path, truth.fingerprint, truth.label_before) == ("a.png", "f1", "open")
    assert truth.at == int(record.at.timestamp() * 1e6)


def test_a_record_belongs_to_its_content_wherever_that_lies(resolve):
    truths = resolve(make_review("b/x.png", content_hash="h"), make_review("c.png", "open", content_hash="h"))
    assert list(truths) == ["h"]
    assert (truths["h"].label, truths["h"].path) == ("open", "c.png")


@pytest.mark.parametrize(("verdict", "label"), [("unsure", None), ("rejected", None)])
def test_no_label(truth_of, verdict, label):
    truth = truth_of(make_review(label=label, verdict=verdict))
    assert (truth.state, truth.label, truth.answers) == (verdict, None, (verdict,))


def test_a_persons_later_record_replaces_the_earlier_by_itself(truth_of):
    truth = truth_of(make_review(), make_review(label="open"), make_review(label="ok"))
    assert (truth.state, truth.label, truth.who) == ("reviewed", "ok", ("Ann",))


def test_the_clock_went_back(truth_of):
    first = make_review()
    corrected = make_review(label="open", at=first.at.replace(year=2025), replaces=(first.id,))
    assert truth_of(first, corrected).label == "open"


def test_two_people_agree_and_the_newest_counts(truth_of):
    truth = truth_of(make_review(), make_review(who="Ben", verdict="corrected", label_before="open"))
    assert (truth.state, truth.label, truth.verdict, truth.who) == ("reviewed", "short", "corrected", ("Ann", "Ben"))


def test_two_people_dispute(truth_of):
    truth = truth_of(make_review(boxes=(make_box(),)), make_review(label="open", who="Ben"))
    assert (truth.state, truth.label, truth.boxes, truth.boxes_complete) == ("disputed", None, (), False)
    assert (truth.who, truth.answers) == (("Ann", "Ben"), ("short", "open"))
    assert truth.agrees_with("short") is None


def test_unsure_against_a_label_is_a_dispute(truth_of):
    assert truth_of(make_review(), make_review(label=None, who="Ben")).state == "disputed"


def test_a_class_called_unsure_is_not_the_verdict(truth_of):
    assert truth_of(make_review(label="unsure"), make_review(label=None, who="Ben")).state == "disputed"


def test_two_unsure_people_agree(truth_of):
    assert truth_of(make_review(label=None), make_review(label=None, who="Ben")).state == "unsure"


def test_a_dispute_is_resolved_by_a_record_replacing_both(truth_of):
    ann, ben = make_review(), make_review(label="open", who="Ben")
    judge = make_review(label="ok", who="Cleo", replaces=(ann.id, ben.id))
    truth = truth_of(ann, ben, judge)
    assert (truth.state, truth.label, truth.who, truth.records) == ("reviewed", "ok", ("Cleo",), (judge.id,))


def test_a_record_replacing_one_side_leaves_the_other(truth_of):
    ann, ben = make_review(), make_review(label="open", who="Ben")
    truth = truth_of(ann, ben, make_review(label="ok", who="Cleo", replaces=(ann.id,)))
    assert (truth.state, truth.answers) == ("disputed", ("open", "ok"))


def test_an_old_record_does_not_come_back_when_its_successor_is_replaced(truth_of):
    first, second = make_review(), make_review(label="open")
    truth = truth_of(first, second, make_review(label="ok", who="Ben", replaces=(second.id,)))
    assert (truth.state, truth.answers) == ("reviewed", ("ok",))


def test_a_withdrawn_record_was_never_written(truth_of):
    record = make_review()
    assert truth_of(record, withdraw(record)) is None


def test_a_withdrawal_revives_what_the_record_had_replaced(truth_of):
    first = make_review()
    second = make_review(label="open", replaces=(first.id,))
    assert truth_of(first, second, withdraw(second)).label == "short"


def test_a_withdrawal_revives_both_sides_of_a_dispute(truth_of):
    ann, ben = make_review(), make_review(label="open", who="Ben")
    judge = make_review(label="ok", who="Cleo", replaces=(ann.id, ben.id))
    truth = truth_of(ann, ben, judge, withdraw(judge, who="Cleo"))
    assert (truth.state, truth.records) == ("disputed", (ann.id, ben.id))


def test_a_withdrawal_taken_back_counts_for_nothing(truth_of):
    record = make_review()
    undo = withdraw(record)
    redo = withdraw(undo)
    assert truth_of(record, undo, redo).label == "short"


def test_three_undos_in_a_row(truth_of):
    records = [make_review(label=label) for label in ("short", "open", "ok")]
    assert truth_of(*records, withdraw(records[2]), withdraw(records[1])).label == "short"


def test_a_withdrawal_needs_no_path_of_its_own(truth_of):
    record = make_review()
    assert truth_of(record, withdraw(record, content_hash="b", path="b.png")) is None


def test_records_naming_each_other_end_nowhere(truth_of):
    first = make_review()
    second = make_review(who="Ben", replaces=(first.id,))
    assert truth_of(replace(first, replaces=(second.id, first.id)), second) is None


def test_any_order_of_files_gives_the_same_truths(tmp_path):
    """Random reviews of few photos by three people, in one session and in many: the same records stand."""
    chance = random.Random(0)
    records = []
    for _ in range(300):
        photo, who = f"{chance.randrange(8)}.png", chance.choice(["Ann", "Ben", "Cleo"])
        known = [record for record in records if record.path == photo]
        seen = tuple(record.id for record in known if chance.random() < 0.3)
        if known and chance.random() < 0.2:
            records.append(withdraw(chance.choice(known), who=who))
        else:
            records.append(make_review(photo, chance.choice(["ok", "short", None]), who=who, replaces=seen))
    write_reviews(tmp_path / "one", records)
    chance.shuffle(records)
    for start in range(0, 300, 30):
        write_reviews(tmp_path / "many", records[start : start + 30])
    one, many = (read_review_table(tmp_path / name) for name in ("one", "many"))
    assert find_standing(one) == find_standing(many)
    assert resolve_truths(one) == resolve_truths(many)
    assert len({truth.state for truth in resolve_truths(one).values()}) > 1


BOXES = (make_box(0, 0, 10, 10), make_box(20, 0, 30, 10))


@pytest.mark.parametrize(
    ("others", "same"),
    [
        (BOXES[::-1], True),
        ((make_box(0, 0, 10, 5), BOXES[1]), True),  # an overlap of exactly 0.5
        ((make_box(0, 0, 10, 4.9), BOXES[1]), False),
        ((make_box(3, 0, 13, 10), make_box(22, 0, 32, 10)), True),  # 7 / 13, 8 / 12
        ((BOXES[0],), False),
        ((BOXES[0], BOXES[0]), False),  # one to one
        ((make_box(0, 0, 10, 10, "open"), BOXES[1]), False),
        ((make_box(10, 10, 20, 20), BOXES[1]), False),
    ],
)
def test_boxes_pair_up_one_to_one(truth_of, others, same):
    assert boxes_match(BOXES, others) == boxes_match(others, BOXES) == same
    ann = make_review(boxes=BOXES, boxes_complete=True)
    truth = truth_of(ann, make_review(who="Ben", boxes=others, boxes_complete=True))
    assert truth.state == ("reviewed" if same else "disputed")
    assert truth.boxes == (others if same else ())


def test_each_box_takes_the_partner_left_for_it(truth_of):
    """The first box overlaps both others, the second only one of them."""
    boxes = (make_box(0, 0, 10, 10), make_box(0, 0, 10, 16))
    others = (make_box(0, 0, 10, 12), make_box(0, 0, 10, 7))
    assert boxes_match(boxes, others)


def test_incomplete_boxes_contradict_nobody(truth_of):
    ann = make_review(boxes=BOXES, boxes_complete=True)
    truth = truth_of(ann, make_review(who="Ben", boxes=BOXES[:1]))
    assert (truth.state, truth.boxes, truth.boxes_complete) == ("reviewed", BOXES, True)


def test_no_boxes_at_all_match():
    assert boxes_match((), ())


def test_who_was_asked_in_the_audit(resolve):
    blind = {"blind": True, "order": "mixed"}
    undone, corrected = make_review("c.png", **blind), make_review("d.png", **blind)
    truths = resolve(
        make_review("a.png", **blind),
        make_review("b.png", order="mixed"),
        undone,
        withdraw(undone),
        make_review("c.png", who="Ben"),
        corrected,
        make_review("d.png", "open", order="suspects", replaces=(corrected.id,)),
        make_review("e.png", blind=True, order="suspects"),
        make_review("f.png", blind=True, order="audit"),
    )
    assert {name: truth.audited for name, truth in truths.items()} == {
        "a": True, "b": False, "c": False, "d": True, "e": False, "f": True
    }  # fmt: skip
    assert truths["d"].label == "open"
