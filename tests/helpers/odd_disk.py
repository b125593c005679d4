"""A folder seen through a FUSE file system with habits of network shares and foreign disks; needs fusepy and libfuse2.

python -m tests.helpers.odd_disk FOLDER MOUNT HABIT ...
"""

import errno
import os
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HABITS = ("caseless", "decomposed", "windows names", "no flush", "no times", "unreadable")


class OddDisk:
    """What FUSE calls, by the names of fusepy; everything ends in the real folder."""

    def __init__(self, folder: str, habits: set[str]) -> None:
        self.folder, self.habits = os.path.realpath(folder), habits

    def __call__(self, operation: str, *arguments):
        """Answer one call of the system."""
        try:
            return getattr(self, operation)(*arguments)
        except AttributeError:
            return_code = errno.ENOSYS
        except OSError as error:
            return_code = error.errno
        import fuse

        raise fuse.FuseOSError(return_code)

    def refuse(self, habit: str, number: int) -> None:
        if habit in self.habits:
            raise OSError(number, os.strerror(number))

    def real(self, path: str) -> str:
        """Return the real file of a name, after the rules of this disk."""
        place = self.folder
        for name in filter(None, path.split("/")):
            if any(letter in '<>:"\\|?*' for letter in name) or name[-1] in ". ":
                self.refuse("windows names", errno.EINVAL)
            if "decomposed" in self.habits:
                name = unicodedata.normalize("NFD", name)
            if "caseless" in self.habits and not os.path.lexists(os.path.join(place, name)):
                twins = [twin for twin in os.listdir(place) if twin.casefold() == name.casefold()]
                name = (twins or [name])[0]
            place = os.path.join(place, name)
        return place

    def init(self, path):
        print("ready", flush=True)

    def destroy(self, path):
        pass

    def access(self, path, mode):
        pass

    def getattr(self, path, handle=None):
        status = os.lstat(self.real(path))
        return {name: getattr(status, name) for name in dir(status) if name.startswith("st_") and name[-3:] != "_ns"}

    def readdir(self, path, handle):
        return [".", "..", *os.listdir(self.real(path))]

    def statfs(self, path):
        status = os.statvfs(self.real(path))
        return {name: getattr(status, name) for name in dir(status) if name.startswith("f_") and name != "f_fsid"}

    def mkdir(self, path, mode):
        os.mkdir(self.real(path), mode)

    def rmdir(self, path):
        os.rmdir(self.real(path))

    def unlink(self, path):
        os.unlink(self.real(path))

    def rename(self, old, new):
        os.rename(self.real(old), self.real(new))

    def chmod(self, path, mode):
        os.chmod(self.real(path), mode)

    def utimens(self, path, times):
        self.refuse("no times", errno.EPERM)
        os.utime(self.real(path), times)

    def open(self, path, flags):
        if flags & os.O_ACCMODE == os.O_RDONLY and path.endswith(".png"):
            self.refuse("unreadable", errno.EIO)
        return os.open(self.real(path), flags)

    def create(self, path, mode):
        return os.open(self.real(path), os.O_RDWR | os.O_CREAT, mode)

    def read(self, path, size, offset, handle):
        return os.pread(handle, size, offset)

    def write(self, path, data, offset, handle):
        return os.pwrite(handle, data, offset)

    def truncate(self, path, length, handle=None):
        os.truncate(self.real(path), length)

    def flush(self, path, handle):
        pass

    def release(self, path, handle):
        os.close(handle)

    def fsync(self, path, only_data, handle):
        self.refuse("no flush", errno.EINVAL)

    def fsyncdir(self, path, only_data, handle):
        self.refuse("no flush", errno.EINVAL)


@contextmanager
def mount_odd_disk(folder: Path, mount: Path, *habits: str) -> Iterator[None]:
    """Show `folder` at `mount` with some of `HABITS`; unmount it after the block."""
    assert set(habits) <= set(HABITS)
    folder.mkdir(parents=True, exist_ok=True)
    mount.mkdir(parents=True)
    command = [sys.executable, "-m", __name__, folder, mount, *habits]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", "the disk could not be mounted"
        try:
            yield
        finally:
            subprocess.run(["umount", "--lazy", mount], check=True)
            process.wait()


if __name__ == "__main__":
    import fuse

    fuse.FUSE(
        OddDisk(sys.argv[1], set(sys.argv[3:])), sys.argv[2], foreground=True, nothreads=True, allow_other=True
    )  # fmt: skip
