"""The errors a user can meet. Each names the thing, the reason and the next step, in one line."""


class VitrolloutError(Exception):
    """A fault that the user can act on; shown without a traceback."""

    exit_code = 1


class ConfigError(VitrolloutError):
    """The command or the configuration is wrong; nothing was processed.

    Attributes:
        problems: all that is wrong, a line each.
    """

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        many = f"{len(problems)} settings are wrong:\n  " if len(problems) > 1 else ""
        super().__init__(many + "\n  ".join(problems))
        self.problems = problems


class ModelError(VitrolloutError):
    """The checkpoint can't be reached, can't be loaded, or has no rollout; nothing was processed."""

    exit_code = 2


class DataError(VitrolloutError):
    """A labelled data set is unusable as it stands; nothing was trained or evaluated."""

    exit_code = 2


class PhotoError(VitrolloutError):
    """The one photo that was asked for can't be fetched or decoded."""

    exit_code = 2


class StoreError(VitrolloutError):
    """The results folder can't be read or written; what was committed stays."""

    exit_code = 1


class FolderBusyError(VitrolloutError):
    """Another run holds this results folder."""

    exit_code = 75


class StoppedError(Exception):
    """A training or an evaluation was told to stop; the message says what is saved."""


class DecodeError(Exception):
    """One photo can't be decoded. It becomes a failed row and never ends a run."""
