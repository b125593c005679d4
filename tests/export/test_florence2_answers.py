import numpy as np
import pytest

from pipeline.export.dataset import ExportBox
from pipeline.export.examples import order_boxes
from pipeline.export.florence2_answers import (
    caption_boxes,
    check_caption,
    count_small_boxes,
    describe_unholdable,
    ground_boxes,
    ground_caption,
    list_boxes,
)
from tests.helpers.florence2 import BINS, make_processor

CLASSES = ["open", "short", "mouse bite", "copper (spurious), #2", "it's > 3 mm"]


@pytest.fixture(scope="module")
def processor():
    return make_processor(["Locate the objects with category name in the image.", *CLASSES], banned=["the image"])


def random_boxes(rng, width, height, count):
    boxes = []
    for _ in range(count):
        x0, y0 = int(rng.integers(0, width - 1)), int(rng.integers(0, height - 1))
        x1, y1 = int(rng.integers(x0 + 1, width + 1)), int(rng.integers(y0 + 1, height + 1))
        class_id = int(rng.integers(len(CLASSES)))
        boxes.append(ExportBox(x0, y0, x1, y1, CLASSES[class_id], class_id))
    return order_boxes(boxes)


def decode_answer(processor, answer, task, size):
    """Send an answer through tokenizer and post-processor, as a model's output."""
    tokens = processor.tokenizer(answer).input_ids
    text = processor.tokenizer.decode([2, *tokens], skip_special_tokens=False)
    found = processor.post_process_generation(text, task=task, image_size=size)[task]
    return found["labels"], found["bboxes"]


def assert_same_boxes(boxes, labels, corners, size):
    assert labels == [box.label for box in boxes]
    expected = np.array([(box.x0, box.y0, box.x1, box.y1) for box in boxes])
    bin_sizes = np.array([*size, *size]) / BINS
    assert (np.abs(np.array(corners) - expected) <= np.maximum(bin_sizes, 1)).all()  # it answers in whole pixels


@pytest.mark.parametrize("size", [(640, 480), (4000, 3000), (1001, 8000)])
def test_florence2_gives_every_box_back_within_one_bin(processor, size):
    rng = np.random.default_rng(0)
    for count in (1, 2, 5, 20):
        boxes = random_boxes(rng, *size, count)
        answer = list_boxes([box.label for box in boxes], boxes, *size)
        assert_same_boxes(boxes, *decode_answer(processor, answer, "<OD>", size), size)
        assert_same_boxes(boxes, *decode_answer(processor, answer, "<DENSE_REGION_CAPTION>", size), size)


def test_florence2_grounds_each_phrase_with_all_its_boxes(processor):
    size = (640, 480)
    boxes = random_boxes(np.random.default_rng(1), *size, 12)
    answer = ground_boxes(boxes, *size)
    labels, corners = decode_answer(processor, answer, "<CAPTION_TO_PHRASE_GROUNDING>", size)
    assert all(label.startswith("the ") for label in labels)
    assert_same_boxes(boxes, [label.removeprefix("the ") for label in labels], corners, size)
    assert answer.count("the ") == len({box.label for box in boxes})


def test_an_empty_answer_is_a_photo_without_boxes(processor):
    assert list_boxes([], [], 640, 480) == ""
    assert decode_answer(processor, "", "<OD>", (640, 480)) == ([], [])


def test_every_location_is_one_token(processor):
    tokenizer = processor.tokenizer
    for number in range(BINS):
        assert len(tokenizer.encode(f"<loc_{number}>", add_special_tokens=False)) == 1
    assert len(tokenizer.encode("<loc_1000>", add_special_tokens=False)) > 1
    answer = list_boxes(["open"], [ExportBox(0, 0, 640, 480, "open", 0)], 640, 480)
    assert answer == "open<loc_0><loc_0><loc_999><loc_999>"
    assert (
        len(tokenizer.encode(answer, add_special_tokens=False))
        == len(tokenizer.encode("open", add_special_tokens=False)) + 4
    )


@pytest.mark.parametrize(
    "label", ["kratzer ö", "x<y", " open", "open ", "line\nbreak", "tab\t", "", "  ", "über", "a\x07b"]
)
def test_labels_florence2_changes_are_refused(processor, label):
    assert describe_unholdable(label)
    box = ExportBox(10, 10, 200, 200, label, 0)
    labels, _ = decode_answer(processor, list_boxes([label], [box], 640, 480), "<OD>", (640, 480))
    if label != "a\x07b":  # comes back, but nobody can type it
        assert labels != [label]


@pytest.mark.parametrize("label", [*CLASSES, "100%", "a_b-c/d", "OK?"])
def test_labels_florence2_keeps_are_accepted(processor, label):
    assert describe_unholdable(label) is None
    assert describe_unholdable(label, "grounding") is None
    box = ExportBox(10, 10, 200, 200, label, 0)
    assert decode_answer(processor, list_boxes([label], [box], 640, 480), "<OD>", (640, 480))[0] == [label]


def test_phrases_never_grounded_are_refused_for_grounding_only(processor):
    assert describe_unholdable("image") is None
    assert "the image" in describe_unholdable("image", "grounding")
    answer = ground_boxes([ExportBox(10, 10, 200, 200, "image", 0)], 640, 480)
    assert decode_answer(processor, answer, "<CAPTION_TO_PHRASE_GROUNDING>", (640, 480)) == ([], [])


def test_captions_name_the_place():
    boxes = [
        ExportBox(0, 0, 10, 10, "open", 0),
        ExportBox(45, 45, 55, 55, "spur", 1),
        ExportBox(90, 40, 99, 60, "spur", 1),
    ]
    assert caption_boxes("{label} at {where}", boxes, 100, 100) == "open at upper left, spur at centre, spur at right"
    assert caption_boxes("a {label}", boxes, 100, 100) == "a open, a spur"
    assert ground_caption(["open", "spur"]) == "the open and the spur"


@pytest.mark.parametrize(
    "template", ["", "a defect", "{}", "{label.__class__}", "{label!r}", "{label:>9}", "{size}", "{"]
)
def test_templates_with_other_fields_are_refused(template):
    with pytest.raises(ValueError, match=r"must name|expected|Single"):
        check_caption(template)


def test_boxes_under_two_bins_are_counted():
    boxes = [ExportBox(0, 0, 7, 100, "open", 0), ExportBox(0, 0, 8, 8, "open", 0), ExportBox(0, 0, 100, 5, "open", 0)]
    assert count_small_boxes(boxes, 4000, 3000) == 2
