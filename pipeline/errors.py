"""The errors shown to users. Each names the thing, the reason and the next step, in one line.

    VitrolloutError       exit 1    any of these is shown in one line, without a traceback
      ConfigError         exit 2    wrong command, option or configuration file
      ModelError          exit 2    unusable checkpoint
      DataError           exit 2    unusable labelled data set
      PhotoError          exit 2    the single photo of `explain` can't be fetched or decoded
      StoreError          exit 1    the results folder can't be read or written
      FolderBusyError     exit 75   another run holds the results folder

Two more are caught inside: StoppedError, told to stop before the end, with what is saved in its message; and
DecodeError, one bad photo of a run, which becomes a failed row.
"""


class VitrolloutError(Exception):
    """A fault with a remedy; shown without a traceback."""

    exit_code = 1


class ConfigError(VitrolloutError):
    """A wrong command or configuration; nothing was processed.

    Attributes:
        problems: all mistakes, one line each.
    """

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        many = f"{len(problems)} settings are wrong:\n  " if len(problems) > 1 else ""
        super().__init__(many + "\n  ".join(problems))
        self.problems = problems


class ModelError(VitrolloutError):
    """A checkpoint out of reach, unloadable or without rollout; nothing was processed."""

    exit_code = 2


class DataError(VitrolloutError):
    """An unusable labelled data set; nothing was trained or evaluated."""

    exit_code = 2


class PhotoError(VitrolloutError):
    """The requested photo can't be fetched or decoded."""

    exit_code = 2


class StoreError(VitrolloutError):
    """The results folder can't be read or written; everything committed stays."""


class DeviceLostError(VitrolloutError):
    """A device of this machine no longer answers; other processes may go on with their own."""


class FolderBusyError(VitrolloutError):
    """Another run holds this results folder."""

    exit_code = 75


class StoppedError(Exception):
    """A training or a measurement was told to stop; the message says what is saved."""


class DecodeError(Exception):
    """One photo can't be decoded. It becomes a failed row and never ends a run."""


class UnjudgedError(DecodeError):
    """The machine kept a photo from being decoded: no memory, an unreadable disk. Its bytes may be fine."""


def one_line(error: object, limit: int | None = None) -> str:
    """Return the text of an exception or a warning on one line, cut to `limit` characters."""
    return " ".join(str(error).split())[:limit]
