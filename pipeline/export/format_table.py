"""All formats of a data set: what each needs, how it is checked and written, and how people read it."""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.export.config import ExportConfig, FormatName
from pipeline.export.dataset import ExportDataset
from pipeline.export.folder import ExportFolder
from pipeline.export.formats import (
    coco,
    florence2,
    hf,
    imagefolder,
    label_studio,
    messages,
    paligemma,
    swift,
    table_csv,
    voc,
    yolo,
)


def _check_nothing(dataset: ExportDataset, config: ExportConfig) -> None:
    pass


def _add_nothing(dataset: ExportDataset) -> str:
    return ""


@dataclass(frozen=True)
class ExportFormat:
    """One format.

    Attributes:
        title: its name in words, for the data set card.
        needs_boxes: it takes photos with complete boxes alone.
        write: writes all files of a data set into a folder. Called with a data set for this format alone.
        usage: how to read it, Markdown, for the data set card.
        takes_model_labels: it takes photos labelled by the model in every split, to be corrected by people.
        check: raises a DataError with the remedy for labels or settings the format can't hold. Called before anything
            is written.
        card_header: returns lines of YAML for the head of the data set card.
    """

    title: str
    needs_boxes: bool
    write: Callable[[ExportDataset, ExportFolder, ExportConfig], None]
    usage: str
    check: Callable[[ExportDataset, ExportConfig], None] = _check_nothing
    takes_model_labels: bool = False
    card_header: Callable[[ExportDataset], str] = _add_nothing


FORMATS: dict[FormatName, ExportFormat] = {
    "imagefolder": ExportFormat(
        title="imagefolder",
        needs_boxes=False,
        write=imagefolder.write_imagefolder,
        usage=imagefolder.USAGE,
        check=imagefolder.check_class_folders,
    ),
    "csv": ExportFormat(title="CSV", needs_boxes=False, write=table_csv.write_csv, usage=table_csv.USAGE),
    "coco": ExportFormat(title="COCO", needs_boxes=True, write=coco.write_coco, usage=coco.USAGE),
    "yolo": ExportFormat(title="YOLO", needs_boxes=True, write=yolo.write_yolo, usage=yolo.USAGE),
    "hf": ExportFormat(
        title="Hugging Face",
        needs_boxes=False,
        write=hf.write_hf,
        usage=hf.USAGE,
        card_header=hf.format_card_header,
    ),
    "voc": ExportFormat(title="Pascal VOC", needs_boxes=True, write=voc.write_voc, usage=voc.USAGE),
    "florence2": ExportFormat(
        title="Florence-2",
        needs_boxes=True,
        write=florence2.write_florence2,
        usage=florence2.USAGE,
        check=florence2.check_florence2,
    ),
    "paligemma": ExportFormat(
        title="PaliGemma",
        needs_boxes=True,
        write=paligemma.write_paligemma,
        usage=paligemma.USAGE,
        check=paligemma.check_paligemma,
    ),
    "messages": ExportFormat(
        title="messages for Qwen3-VL",
        needs_boxes=True,
        write=messages.write_messages,
        usage=messages.USAGE,
    ),
    "swift": ExportFormat(
        title="ms-swift",
        needs_boxes=True,
        write=swift.write_swift,
        usage=swift.USAGE,
        check=swift.check_swift,
    ),
    "label-studio": ExportFormat(
        title="Label Studio",
        needs_boxes=False,
        write=label_studio.write_label_studio,
        usage=label_studio.USAGE,
        takes_model_labels=True,
    ),
}
