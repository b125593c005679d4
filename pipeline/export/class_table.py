"""The classes of a data set: those of classes.json, in its order, under the names wanted."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from pipeline.errors import ConfigError
from pipeline.export.config import ExportConfig
from pipeline.export.dataset import ExportClass
from pipeline.export.known_labels import LabelledRow, read_renames
from pipeline.export.table_rows import ResultRow
from pipeline.labelled.good_labels import is_good_label
from pipeline.reviews.classes import current_names, extend_classes, read_classes


@dataclass(frozen=True)
class ClassTable:
    """The classes of a data set.

    Attributes:
        classes: ordered by id.
        names: name in the data set by label.
        current: labels by their earlier names.
        positive: labels counted as defects; empty: all but the usual names for "no defect".
    """

    classes: tuple[ExportClass, ...]
    names: Mapping[str, str]
    current: Mapping[str, str]
    positive: frozenset[str]

    def find_class(self, label: str) -> ExportClass | None:
        """Return the class of a label; None if it isn't selected."""
        return self._by_name.get(self.names.get(self.current.get(label, label), label))

    def is_good(self, label: str) -> bool:
        """Tell whether a label means "no defect"."""
        return label not in self.positive if self.positive else is_good_label(label)

    @cached_property
    def _by_name(self) -> dict[str, ExportClass]:
        return {each.name: each for each in self.classes}


def choose_classes(config: ExportConfig, rows: Iterable[ResultRow], photos: Iterable[LabelledRow]) -> ClassTable:
    """Choose the classes of a data set; labels not in classes.json yet are appended to it.

    Without a classes.json, the classes of the model come first, in the order of their ids.

    Raises:
        ConfigError: a label of the settings is unknown.
        DataError: classes.json or the CSV of names is wrong.
        StoreError: classes.json can't be written.
    """
    is_new = not read_classes(config.results)
    of_model = sorted({(row.label_id, row.label) for row in rows if is_new and row.label is not None})
    of_people = {photo.known.label for photo in photos} | {box.label for photo in photos for box in photo.known.boxes}
    labels = [label for _, label in of_model] + sorted(of_people)
    classes = extend_classes(config.results, labels)
    names = {each.name: each.name for each in classes}
    renames = read_renames(config.rename) if config.rename else {}
    for setting, given in (("classes", config.classes), ("positive", config.positive), ("rename", renames)):
        if unknown := [label for label in given if label not in names]:
            raise ConfigError(f"{setting} = {', '.join(unknown)}: no such class; there are {', '.join(names)}")
    names |= renames
    selected = [name for label, name in names.items() if not config.classes or label in config.classes]
    return ClassTable(
        classes=tuple(ExportClass(index, name) for index, name in enumerate(dict.fromkeys(selected))),
        names=names,
        current=current_names(classes),
        positive=frozenset(config.positive),
    )
