"""The input of a run, refused before anything is written if it holds no photos."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from pipeline.photos.bucket import BucketSource
from pipeline.photos.discover import FolderSource
from pipeline.photos.left_out import format_left_out
from pipeline.photos.listed import ListedSource, is_list
from pipeline.photos.selection import Selection
from pipeline.photos.source import Source
from pipeline.records import ImageRef
from pipeline.storage.storage import check_reachable


def find_photos(config: RunConfig) -> Source:
    """Return the source of a run's photos, once the first of them are found.

    Raises:
        ConfigError: there are none.
    """
    source = _BegunSource(open_source(config))
    if source.has_photos:
        return source
    if source.unreadable:
        name, reason = next(iter(source.unreadable.items()))
        raise ConfigError(f"no photos in {source.name}: folder {name} can't be read ({reason})")
    matching = f" matching {config.pattern}" if config.pattern else ""
    left_out = f" (left out: {format_left_out(source.left_out)})" if source.left_out else ""
    raise ConfigError(
        f"no photos in {source.name}{matching}{left_out}; vitrollout run --help lists what counts as a photo"
    )


def open_source(config: RunConfig) -> Source:
    """Return the source of a run's photos: a folder, a prefix of a bucket, or a list.

    Raises:
        ConfigError: the bucket isn't there, or out of reach.
    """
    selection = Selection(config.pattern, config.exclude, config.hidden, config.follow_links)
    check_reachable(config.input)
    if is_list(config.input):
        return ListedSource(config.input, selection)
    if isinstance(config.input, Path):
        skip = config.out if isinstance(config.out, Path) else None
        return FolderSource(config.input, selection, skip=skip)
    return BucketSource(config.input, selection)


class _BegunSource:
    """A source with its first chunk in hand, so that an empty one is known early and nothing is listed twice."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._begun: Iterator[list[ImageRef]] | None = source.chunks()
        self._first = next(self._begun, [])

    @property
    def has_photos(self) -> bool:
        """Whether there is at least one photo."""
        return bool(self._first)

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def unreadable(self) -> Mapping[str, str]:
        return self._source.unreadable

    @property
    def left_out(self) -> Mapping[str, int]:
        return self._source.left_out

    def chunks(self) -> Iterator[list[ImageRef]]:
        """Yield all photos; the second time from the start."""
        begun, self._begun = self._begun, None
        return self._source.chunks() if begun is None else chain([self._first], begun)

    def is_gone(self, paths: Sequence[str], raws: Sequence[bytes | None]) -> list[bool]:
        return self._source.is_gone(paths, raws)
