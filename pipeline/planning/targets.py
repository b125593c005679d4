"""The labels to explain, by the settings `target`, `versus` and `labels`; those of a CSV, matched photo by photo."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.config import RunConfig
from pipeline.errors import ConfigError, DataError
from pipeline.labelled.csv_paths import to_nfc
from pipeline.maps.methods import LABEL_METHODS
from pipeline.model.checkpoint import Checkpoint
from pipeline.model.targets import Targets, find_targets, read_expected
from pipeline.records import ImageRef
from pipeline.storage.location import Location

log = logging.getLogger(__name__)

_UNEXPECTED = "no label is expected of it: the CSV of --labels doesn't have its path"


def choose_targets(config: RunConfig, checkpoint: Checkpoint, saved_positive: Sequence[str] = ()) -> Targets:
    """Resolve the settings `target`, `versus` and `positive` for this model.

    For target = expected, the targets have no labels yet: see `expect_labels`.

    Args:
        config: all settings.
        checkpoint: the model.
        saved_positive: labels of the classes counted as defects by the model's decision.

    Raises:
        ConfigError: names all labels unknown to the model, each with the nearest known one.
    """
    if not set(config.method) & set(LABEL_METHODS):
        return Targets()
    target = None if config.target in ("top1", "expected") else config.target
    targets, problems = find_targets(target, config.versus, checkpoint.labels, config.positive, saved_positive)
    if config.labels is not None:
        targets = replace(targets, expected={})
        if problems:
            try:
                read_expected(config.labels, checkpoint.labels, _folder_of(config.input))
            except DataError as error:
                problems.append(f"labels = {error}")
    if problems:
        raise ConfigError(*problems)
    return targets


def expect_labels(config: RunConfig, checkpoint: Checkpoint, targets: Targets) -> Targets:
    """Read the labels expected of the photos, for target = expected.

    Raises:
        ConfigError: the CSV of the setting `labels` can't be used.
    """
    if targets.expected is None or config.labels is None:
        return targets
    try:
        return replace(targets, expected=read_expected(config.labels, checkpoint.labels, _folder_of(config.input)))
    except DataError as error:
        raise ConfigError(f"labels = {error}") from error


def _folder_of(source: Location) -> Path:
    """Return the folder where the paths of the table start; for lists and buckets any place will do."""
    return source if isinstance(source, Path) and source.is_dir() else Path("/")


class LabelCheck:
    """Finds the label expected of each photo, as the photos come in.

    Attributes:
        expected: label by path: those of the CSV, and of photos under its names in another Unicode form.
    """

    def __init__(self, config: RunConfig, expected: dict[str, int]) -> None:
        """Start without photos.

        Args:
            config: all settings.
            expected: label by path, as in the CSV; photos under its names in another Unicode form are added.
        """
        self._config, self.expected = config, expected
        self._by_nfc = {to_nfc(name): label for name, label in expected.items() if not name.isascii()}
        self._photos = self._matched = self._missing = 0

    def check(self, refs: Sequence[ImageRef]) -> list[ImageRef]:
        """Set `problem` on photos whose expected label is missing from the CSV."""
        is_expected = [self._match_path(ref.path) for ref in refs]
        checked = [
            ref if matches or ref.problem else replace(ref, problem=_UNEXPECTED)
            for ref, matches in zip(refs, is_expected, strict=True)
        ]
        self._photos += len(refs)
        self._matched += sum(is_expected)
        self._missing += sum(ref.problem == _UNEXPECTED for ref in checked)
        return checked

    def finish(self) -> None:
        """Log the number of photos without a label, and start over.

        Raises:
            ConfigError: no photo has one.
        """
        config = self._config
        if not self._matched:
            raise ConfigError(
                f"labels = {config.labels}: names no photo of {config.input}; paths must be relative to that folder"
            )
        if self._missing:
            log.warning(
                "%d of %d photos are not in the CSV of --labels: they become failed rows", self._missing, self._photos
            )
        self._photos = self._matched = self._missing = 0

    def _match_path(self, path: str) -> bool:
        """Tell whether a photo has a label, perhaps that of its twin in another Unicode form."""
        if path in self.expected:
            return True
        if path.isascii():  # has no other form
            return False
        twin = to_nfc(path)
        label = self._by_nfc.get(twin, self.expected.get(twin))
        if label is not None:
            self.expected[path] = label
        return label is not None
