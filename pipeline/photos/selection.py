"""The part of a folder to take photos from: globs and rules about names."""

import unicodedata
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pipeline.photos.left_out import (
    find_file_rule,
    find_folder_rule,
    find_format_problem,
    is_apple_double,
    is_unfinished,
)

_EXCLUDED, _EXCLUDED_FOLDER = "excluded (--exclude)", "excluded folder (--exclude)"


@dataclass(frozen=True)
class Selection:
    """The part of a folder to walk through. Globs are for names, or with a `/` in them for relative paths.

    Globs are blind to case and to Unicode forms.

    Attributes:
        pattern: only files like this; None: all.
        exclude: neither files nor folders like these.
        hidden: take hidden files and folders too, and those made by systems (thumbnails, waste baskets).
        follow_links: enter symlinked folders.
    """

    pattern: str | None = None
    exclude: tuple[str, ...] = ()
    hidden: bool = False
    follow_links: bool = False

    def wants_file(self, name: str, relative: str) -> bool:
        """Tell whether a file matches the pattern."""
        return self.pattern is None or _matches_glob(self.pattern, name, relative)

    def find_folder_rule(self, name: str, relative: str) -> str | None:
        """Return the rule against a folder, None for a folder to enter."""
        if self.is_excluded(name, relative):
            return _EXCLUDED_FOLDER
        return None if self.hidden else find_folder_rule(name)

    def find_file_rule(self, name: str, relative: str, file: str) -> str | None:
        """Return the rule against a picture, None for a photo to take.

        Args:
            name: of the file.
            relative: its path from the root of the walk.
            file: its name for the operating system.
        """
        if self.is_excluded(name, relative):
            return _EXCLUDED
        by_name = not self.hidden or is_apple_double(name, file)
        rule = find_file_rule(name) if by_name and not is_unfinished(name) else None
        return rule or find_format_problem(name)

    def is_excluded(self, name: str, relative: str) -> bool:
        """Tell whether a file or a folder is like one of the globs to leave out."""
        return any(_matches_glob(glob, name, relative) for glob in self.exclude)


def _matches_glob(glob: str, name: str, relative: str) -> bool:
    return fnmatchcase(_fold_name(relative if "/" in glob else name), _fold_name(glob))


def _fold_name(name: str) -> str:
    return unicodedata.normalize("NFC", name).lower()
