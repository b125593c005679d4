"""The pictures of a data set on their way into its folders: copied, or linked."""

import errno
import logging
import os
import shutil
from pathlib import Path

from pipeline.export.dataset import ExportPhoto

log = logging.getLogger(__name__)

# Answers of disks without hard links, of other disks, and of files with as many as they can have.
_CANT_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES)
_CANT_COPY_IN_KERNEL = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EPERM)


class PictureStore:
    """Puts pictures in place: plain photos from the archive, all others from the folder they were encoded into.

    Attributes:
        encoded: folder of the encoded pictures.
    """

    def __init__(self, encoded: Path, *, link: bool) -> None:
        """Remember the settings.

        Args:
            encoded: folder of the encoded pictures, under their names; on the disk of the data set.
            link: link plain photos where the disk allows it.
        """
        self.encoded = encoded
        self._link = link

    def find_file(self, photo: ExportPhoto) -> str:
        """Return the file with the picture of a photo."""
        return photo.file if photo.is_plain else str(self.encoded / photo.name)

    def place(self, photo: ExportPhoto, target: str) -> None:
        """Put the picture of a photo in place.

        Raises:
            OSError: the disk is full or can't be written, or the photo is gone.
        """
        source = self.find_file(photo)
        if photo.is_plain and not self._link:
            _copy_file(source, target)
            return
        try:
            os.link(os.path.realpath(source) if os.path.islink(source) else source, target)
        except OSError as error:
            if error.errno not in _CANT_LINK:
                raise
            if photo.is_plain:
                self._link = False
                log.warning("photos are copied: %s can't be linked to %s (%s)", source, target, error.strerror)
            _copy_file(source, target)


def _copy_file(source: str, target: str) -> None:
    """Copy the bytes of a file, by the file system itself if it can: some only share the blocks."""
    with open(source, "rb") as reader, open(target, "wb") as writer:
        try:
            while os.copy_file_range(reader.fileno(), writer.fileno(), 2**30):
                pass
        except OSError as error:
            if error.errno not in _CANT_COPY_IN_KERNEL:
                raise
            reader.seek(0)
            writer.seek(0)
            shutil.copyfileobj(reader, writer, 2**20)
