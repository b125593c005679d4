"""The choice of photos by name alone, where names come without folders: the keys of a bucket."""

from collections import Counter

from pipeline.photos.folder_walk import judge_extension
from pipeline.photos.selection import Selection


class NameRules:
    """Decides about relative names as `FolderWalk` does about files and folders.

    Attributes:
        left_out: pictures and folders left out, counted by rule.
    """

    def __init__(self, selection: Selection) -> None:
        """Remember the part to take."""
        self.left_out: Counter[str] = Counter()
        self._selection = selection
        self._is_entered: dict[str, bool] = {"": True}
        self._is_photo_by_extension: dict[str, bool | None] = {}

    def wants(self, relative: str) -> bool:
        """Tell whether a name is that of a photo to take, with `/` between its folders."""
        folder, _, name = relative.rpartition("/")
        return self._enters(folder) and self._wants_file(name, relative)

    def _enters(self, folder: str) -> bool:
        """Tell whether a folder and all above it are entered."""
        known = self._is_entered.get(folder)
        if known is not None:
            return known
        parent, _, name = folder.rpartition("/")
        is_entered = self._enters(parent)
        if is_entered and (rule := self._selection.find_folder_rule(name, folder)):
            self.left_out[rule] += 1
            is_entered = False
        self._is_entered[folder] = is_entered
        return is_entered

    def _wants_file(self, name: str, relative: str) -> bool:
        stem, _, extension = name.rpartition(".")
        if extension not in self._is_photo_by_extension:
            self._is_photo_by_extension[extension] = judge_extension(extension)
        if not stem or self._is_photo_by_extension[extension] is None:
            return False
        if not self._selection.wants_file(name, relative):
            return False
        if rule := self._selection.find_file_rule(name, relative, file=""):
            self.left_out[rule] += 1
        return not rule
