"""PaliGemma 1 and 2: boxes as four of 1,024 location tokens, y first."""

from pipeline.export.config import ExportConfig
from pipeline.export.dataset import ExportDataset, ExportPhoto
from pipeline.export.examples import list_defect_names, order_boxes, refuse_labels, write_prefix_suffix
from pipeline.export.folder import ExportFolder
from pipeline.export.quantise import paligemma_bins

_SEPARATOR = " ; "

USAGE = """\
`train/`, `valid/` and `test/`, each with an `annotations.jsonl` beside its pictures, as maestro and big_vision take it:

    {"image": "a-1f0c2b9a.png", "prefix": "detect open ; short", "suffix": "<loc0342><loc0053><loc0411><loc0141> open"}

The four tokens are y0, x0, y1, x1 in 1,024ths of the side. Photos without a defect have an empty answer. To train with
transformers, give the answer as `suffix`: the processor builds the labels itself.

    inputs = processor(images=pictures, text=prefixes, suffix=suffixes, return_tensors="pt", padding="longest")
    loss = model(**inputs).loss

To read an answer: `supervision.Detections.from_vlm("paligemma", text, resolution_wh=picture.size)`.
"""


def check_paligemma(dataset: ExportDataset, config: ExportConfig) -> None:
    """Refuse labels mistaken for a separator or a token.

    Raises:
        DataError: names them.
    """
    refuse_labels("paligemma", dataset, _describe_unholdable)


def write_paligemma(dataset: ExportDataset, folder: ExportFolder, config: ExportConfig) -> None:
    """Write pictures and annotations.jsonl of each split."""
    prefix = f"detect {_SEPARATOR.join(list_defect_names(dataset))}"
    write_prefix_suffix(dataset, folder, lambda photo: (prefix, _build_answer(photo)))


def _build_answer(photo: ExportPhoto) -> str:
    boxes = order_boxes(photo.boxes)
    bins = paligemma_bins(boxes, photo.width, photo.height).tolist()
    located = ("".join(f"<loc{each:04d}>" for each in row) for row in bins)
    return _SEPARATOR.join(f"{place} {box.label}" for place, box in zip(located, boxes, strict=True))


def _describe_unholdable(label: str) -> str | None:
    if not label or label != label.strip():
        return "is empty, or begins or ends with a blank"
    if not label.isprintable():
        return "has control characters"
    return "has a ; or a <, its separators" if ";" in label or "<" in label else None
