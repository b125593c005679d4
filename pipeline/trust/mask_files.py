"""Which mask belongs to which photo, by their names. A photo is never its own mask."""

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path, PurePosixPath

from pipeline.errors import DataError
from pipeline.labelled.csv_table import list_some
from pipeline.photos.discover import walk_photos
from pipeline.photos.selection import Selection

log = logging.getLogger(__name__)

_SUFFIXES = ("_mask", "-mask", "_gt", "_label", "_labels", "_seg", ".mask")
_FOLDERS = ("masks", "mask", "ground_truth", "gt", "labels", "annotations")
_LOSSY = ("jpg", "jpeg", "jpe", "jfif")
DEFAULT_FOLDERS = ("masks", "ground_truth")  # in the folder of the photos
LAYOUTS = (
    "the mask of part/a.jpg is part/a.png, part/a_mask.png, part/a_gt.png, part/a_label.png or part/a.jpg.png in that "
    "folder, or the same without part/; or it lies beside the photo, or in masks/part/ or ground_truth/part/"
)


@dataclass(frozen=True)
class MaskFolder:
    """The pictures below a folder of masks.

    Attributes:
        root: the folder.
        by_place: files by relative folder and name without extension, those best as masks first.
    """

    root: Path
    by_place: Mapping[tuple[str, str], Sequence[Path]]

    @classmethod
    def scan(cls, root: Path) -> "MaskFolder":
        """List the pictures of a folder and all its subfolders."""
        by_place: dict[tuple[str, str], list[Path]] = defaultdict(list)
        for ref in walk_photos(root, Selection()).refs:
            name = PurePosixPath(ref.path)
            by_place[str(name.parent), name.stem].append(Path(ref.file))
        for files in by_place.values():
            files.sort(key=lambda file: (_is_lossy(file), file.suffix.lower() != ".png", file.name))
        return cls(root, by_place)

    def find(self, path: str, photo: Path) -> tuple[int, Path] | None:
        """Find the mask of a photo, and tell how far from its own place: 0 for the best one.

        Args:
            path: the photo's name in the data set.
            photo: its file.
        """
        name = PurePosixPath(photo.relative_to(self.root) if photo.is_relative_to(self.root) else path)
        stems = (name.stem, *(f"{name.stem}{suffix}" for suffix in _SUFFIXES), name.name)
        for distance, folder in enumerate(_list_folders(name)):
            for stem in stems:
                for file in self.by_place.get((folder, stem), ()):
                    if _may_be_mask(file, photo):
                        return distance, file
        return None


def find_masks(photos: Iterable[tuple[str, Path]], root: Path, data: Path) -> dict[str, Path]:
    """Find the masks of photos.

    Args:
        photos: names in the data set, and files.
        root: the folder of the masks.
        data: the data set, for messages.

    Returns:
        Masks by name of the photo.

    Raises:
        DataError: no mask fits, or one fits several photos.
    """
    folder = MaskFolder.scan(root)
    found = [(match[1], match[0], path) for path, file in photos if (match := folder.find(path, file))]
    if not found:
        count = sum(map(len, folder.by_place.values()))
        raise DataError(f"masks: none of the {count} pictures in {root} is named like a photo of {data}; {LAYOUTS}")
    masks: dict[str, Path] = {}
    for mask, matches in groupby(sorted(found), key=itemgetter(0)):
        _, distances, paths = zip(*matches, strict=True)
        nearest = [path for path, distance in zip(paths, distances, strict=True) if distance == distances[0]]
        if len(nearest) > 1:
            raise DataError(
                f"masks: by its name, {mask} is the mask of {list_some(nearest)}; "
                f"give the masks the subfolders of the photos: {LAYOUTS}"
            )
        masks[nearest[0]] = mask
    log.info("masks of %d photos in %s, for instance %s for %s", len(masks), root, mask.relative_to(root), nearest[0])
    return masks


def warn_of_masks_among(paths: Iterable[str], data: Path) -> None:
    """Name photos with the names of masks of other photos."""
    names = {PurePosixPath(path).with_suffix("") for path in paths}
    masks = sorted(
        str(name)
        for name in names
        for suffix in _SUFFIXES
        if name.stem.endswith(suffix) and name.with_name(name.name.removesuffix(suffix)) in names
    )
    if masks:
        log.warning("%d photos look like masks (%s); --masks %s takes them for masks",
                    len(masks), list_some(masks), data)  # fmt: skip


def _may_be_mask(file: Path, photo: Path) -> bool:
    """Refuse the photo itself, and beside it a file of its name: of a JPEG and a PNG, the PNG may be the mask."""
    if file.parent == photo.parent and file.stem == photo.stem:
        return _is_lossy(photo) and not _is_lossy(file)
    return not (photo.exists() and file.exists() and os.path.samefile(file, photo))


def _list_folders(photo: PurePosixPath) -> Iterator[str]:
    """Yield the folders of a mask, relative to the root: the photo's own, then without leading parts, then siblings."""
    parts = [part for part in photo.parent.parts if part != photo.anchor]
    for start in range(len(parts) + 1):
        yield "/".join(parts[start:]) or "."
    for index in range(len(parts) + 1):
        for folder in _FOLDERS:
            yield "/".join((*parts[:index], folder, *parts[index:]))
            if index < len(parts):
                yield "/".join((*parts[:index], folder, *parts[index + 1 :]))


def _is_lossy(file: Path) -> bool:
    return file.suffix[1:].lower() in _LOSSY
