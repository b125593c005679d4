"""Florence-2: a question and an answer in the words of its own processor, for transformers and maestro."""

import logging
from functools import partial
from itertools import cycle

from pipeline.errors import ConfigError, DataError
from pipeline.export.config import ExportConfig
from pipeline.export.dataset import ExportDataset, ExportPhoto
from pipeline.export.examples import list_defect_names, order_boxes, refuse_labels, write_prefix_suffix
from pipeline.export.florence2_answers import (
    TASK_TOKENS,
    caption_boxes,
    check_caption,
    count_small_boxes,
    describe_unholdable,
    ground_boxes,
    ground_caption,
    list_boxes,
)
from pipeline.export.folder import ExportFolder

log = logging.getLogger(__name__)

USAGE = """\
`train/`, `valid/` and `test/`, each with an `annotations.jsonl` beside its pictures. A line has the picture, the
question and the answer:

    {"image": "board-1f0c2b9a.png", "prefix": "<OD>", "suffix": "open<loc_52><loc_334><loc_138><loc_401>"}

A coordinate is one of 1,000 bins of its side, rounded down as Florence-2's processor does. Photos without a defect have
an empty answer. To train with transformers:

    processor = AutoProcessor.from_pretrained("florence-community/Florence-2-base-ft")
    model = Florence2ForConditionalGeneration.from_pretrained("florence-community/Florence-2-base-ft")
    lines = [json.loads(line) for line in open("train/annotations.jsonl")]
    pictures = [Image.open(f"train/{line['image']}").convert("RGB") for line in lines]
    inputs = processor(images=pictures, text=[line["prefix"] for line in lines], return_tensors="pt", padding=True)
    labels = processor.tokenizer([line["suffix"] for line in lines], return_tensors="pt", padding=True).input_ids
    labels[labels == processor.tokenizer.pad_token_id] = -100
    loss = model(**inputs, labels=labels).loss

Without the line before the last, the model learns to write padding. To read an answer:

    processor.post_process_generation(text, task="<OD>", image_size=picture.size)

The model sees 768 x 768 pixels: defects of a few pixels in a large photo need `--tiles`.
"""


def check_florence2(dataset: ExportDataset, config: ExportConfig) -> None:
    """Refuse labels Florence-2 would not give back; warn of boxes too small for its bins.

    Raises:
        ConfigError: captions lack their template, or it is wrong.
        DataError: names the labels, or there is no box to ground.
    """
    if config.task == "caption":
        _check_template(config.caption)
    refuse_labels("florence2", dataset, partial(describe_unholdable, task=config.task))
    if config.task == "grounding" and not dataset.box_count:
        raise DataError("florence2: no photo has a box to ground; draw boxes in `vitrollout review`")
    _report_empty_answers(dataset)
    _warn_of_small_boxes(dataset)
    if config.task == "dense":
        _warn_of_notes(dataset)


def write_florence2(dataset: ExportDataset, folder: ExportFolder, config: ExportConfig) -> None:
    """Write pictures and annotations.jsonl of each split."""
    token = TASK_TOKENS[config.task]
    captions = _list_captions(dataset) if config.task == "grounding" else {}

    def build_example(photo: ExportPhoto) -> tuple[str, str]:
        return token + captions.get(photo.name, ""), _build_answer(photo, config)

    write_prefix_suffix(dataset, folder, build_example)


def _build_answer(photo: ExportPhoto, config: ExportConfig) -> str:
    boxes, width, height = order_boxes(photo.boxes), photo.width, photo.height
    if config.task == "grounding":
        return ground_boxes(boxes, width, height)
    if config.task == "caption":
        return caption_boxes(str(config.caption), boxes, width, height) or photo.label
    texts = [box.label for box in boxes]
    if config.task == "dense":
        texts = [box.label if _is_note_lost(box.note) else str(box.note) for box in boxes]
    return list_boxes(texts, boxes, width, height)


def _list_captions(dataset: ExportDataset) -> dict[str, str]:
    """Return the caption to ground in each photo, by its name.

    Photos without a defect get the captions of photos with one, in turn: the caption must not give the answer away.
    """
    captions: dict[str, str] = {}
    for photos in dataset.by_split.values():
        labels = {photo.name: dict.fromkeys(box.label for box in order_boxes(photo.boxes)) for photo in photos}
        captions |= {name: ground_caption(list(found)) for name, found in labels.items() if found}
        others = [captions[name] for name in labels if name in captions] or [ground_caption(list_defect_names(dataset))]
        empty = (name for name, found in labels.items() if not found)
        captions |= dict(zip(empty, cycle(others), strict=False))
    return captions


def _check_template(template: str | None) -> None:
    if template is None:
        raise ConfigError('task = caption: needs its text, such as --caption "a {label} at the {where}"')
    try:
        check_caption(template)
    except ValueError as error:
        raise ConfigError(f"caption = {template}: {error}") from None


def _report_empty_answers(dataset: ExportDataset) -> None:
    empty = sum(not photo.boxes for photo in dataset.photos)
    if empty:
        log.info(
            "florence2: %d of %d photos have no defect and an empty answer; --ok-share limits their share",
            empty,
            len(dataset.photos),
        )


def _warn_of_small_boxes(dataset: ExportDataset) -> None:
    small = sum(count_small_boxes(photo.boxes, photo.width, photo.height) for photo in dataset.photos)
    if small:
        log.warning(
            "florence2: %d of %d boxes are under two of its 1,000 bins wide or high; cut the photos with --tiles 768",
            small,
            dataset.box_count,
        )


def _warn_of_notes(dataset: ExportDataset) -> None:
    notes = [box.note for photo in dataset.photos for box in photo.boxes if box.note]
    lost = sum(map(_is_note_lost, notes))
    if lost:
        log.warning(
            "florence2: %d of %d notes can't be held (characters other than ASCII, <, lines); their boxes are "
            "described by the label",
            lost,
            len(notes),
        )


def _is_note_lost(note: str | None) -> bool:
    return not note or describe_unholdable(note) is not None
