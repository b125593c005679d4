"""Requests the server refuses, each with a reason in one line for the page."""


class RefusedError(Exception):
    """A refused request; each kind below has its own answer."""


class BadRequestError(RefusedError):
    """The request is malformed, or asks for something impossible."""


class UnknownPhotoError(RefusedError):
    """No row of this review has the content named by a decision."""


class HiddenAnswerError(RefusedError):
    """A photo of the audit hides the model's answer until the reviewer has decided."""


class PictureMissingError(RefusedError):
    """The file of a picture is gone."""


class PhotoChangedError(RefusedError):
    """The file of a photo has other bytes than in the run."""


class TooLargeError(RefusedError):
    """The request has too many bytes."""
