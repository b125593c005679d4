"""All formats of a data set: what each needs, how it is checked and written, and how people read it."""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.export.config import ExportConfig, FormatName
from pipeline.export.dataset import ExportDataset
from pipeline.export.folder import ExportFolder
from pipeline.export.formats import imagefolder


def _check_nothing(dataset: ExportDataset, config: ExportConfig) -> None:
    pass


@dataclass(frozen=True)
class ExportFormat:
    """One format.

    Attributes:
        title: its name in words, for the data set card.
        needs_boxes: it takes photos with complete boxes alone.
        write: writes all files of a data set into a folder. Called with a data set for this format alone.
        usage: how to read it, Markdown, for the data set card.
        check: raises a DataError with the remedy for labels or settings the format can't hold. Called before anything
            is written.
    """

    title: str
    needs_boxes: bool
    write: Callable[[ExportDataset, ExportFolder, ExportConfig], None]
    usage: str
    check: Callable[[ExportDataset, ExportConfig], None] = _check_nothing


FORMATS: dict[FormatName, ExportFormat] = {
    "imagefolder": ExportFormat(
        title="imagefolder",
        needs_boxes=False,
        write=imagefolder.write_imagefolder,
        usage=imagefolder.USAGE,
        check=imagefolder.check_class_folders,
    ),
}
