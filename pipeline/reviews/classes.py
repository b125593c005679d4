"""The classes of a results folder: classes.json, append-only, so an id never changes its meaning."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from pipeline.atomic_files import atomic_write_path, cannot_write
from pipeline.errors import DataError, one_line
from pipeline.folder_lock import FolderLock
from pipeline.reviews.files import CLASSES_FILE, REVIEWS
from pipeline.reviews.record import current_moment

_KEYS = "123456789"
# Eight colours apart for eyes of all kinds (Okabe & Ito 2008), for boxes and bars.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#f0e442", "#999999")
_LOCK_SECONDS = 10.0


@dataclass(frozen=True)
class ReviewClass:
    """One class.

    Attributes:
        id: its place in the file, from 0; also its id in exports and new models.
        name: the label.
        key: the key for it on the page, or None.
        colour: of its boxes, #rrggbb.
        since: time of its addition, ISO 8601, UTC.
        guide: how to recognise it, in words.
        retired: no longer offered; its id stays taken.
        formerly: earlier names; records under them count as this class.
    """

    id: int
    name: str
    key: str | None = None
    colour: str = "#0072b2"
    since: str = ""
    guide: str = ""
    retired: bool = False
    formerly: tuple[str, ...] = ()


_ADAPTER = TypeAdapter(tuple[ReviewClass, ...])


def read_classes(out: Path) -> tuple[ReviewClass, ...]:
    """Read the classes of a results folder in the order of their ids; none before the first review or export.

    Raises:
        DataError: the file is damaged.
    """
    file = out / REVIEWS / CLASSES_FILE
    try:
        classes = _ADAPTER.validate_json(file.read_bytes())
    except FileNotFoundError:
        return ()
    except (ValidationError, OSError) as error:
        raise DataError(f"{file}: can't be read ({one_line(error, 200)}); correct it, or restore it") from None
    if [each.id for each in classes] != list(range(len(classes))):
        raise DataError(
            f"{file}: ids must count from 0 in the order of the file; restore the order, and append new ones"
        )
    names = [name for each in classes for name in (each.name, *each.formerly)]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{file}: {', '.join(map(repr, doubled))} occurs twice; rename one class")
    return classes


def extend_classes(out: Path, names: Iterable[str]) -> tuple[ReviewClass, ...]:
    """Append the names not there yet, in their order, and return all classes.

    Raises:
        DataError: the file is damaged.
        StoreError: it can't be written.
        FolderBusyError: somebody else is writing it and does not finish.
    """
    folder = out / REVIEWS
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    with FolderLock(folder, busy=f"the classes in {folder} are being written; try again", seconds=_LOCK_SECONDS):
        classes = read_classes(out)
        known = {name for each in classes for name in (each.name, *each.formerly)}
        added = [name for name in dict.fromkeys(names) if name not in known]
        if not added:
            return classes
        since = current_moment().isoformat(timespec="seconds")
        for name in added:
            colour = _COLOURS[len(classes) % len(_COLOURS)]
            classes += (ReviewClass(len(classes), name, _next_key(classes), colour, since),)
        with atomic_write_path(folder / CLASSES_FILE, folder) as temporary:
            temporary.write_bytes(_ADAPTER.dump_json(classes, indent=1))
        return classes


def current_names(classes: Sequence[ReviewClass]) -> dict[str, str]:
    """Return the current name of a class by each earlier one."""
    return {former: each.name for each in classes for former in each.formerly}


def without_retired(classes: Sequence[ReviewClass]) -> tuple[ReviewClass, ...]:
    """Return the classes offered to reviewers."""
    return tuple(each for each in classes if not each.retired)


def _next_key(classes: Sequence[ReviewClass]) -> str | None:
    taken = {each.key for each in classes}
    return next((key for key in _KEYS if key not in taken), None)
