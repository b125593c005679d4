"""A blind audit: a fair share of the photos, the same for everybody, judged without the model's answer.

The photos of a queue ordered by doubt say nothing of the model's accuracy: they are its worst. Photos drawn by a hash
of their content are a fair sample, and stay the same ones as the archive grows.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

_SALTED = hashlib.blake2b(digest_size=8, salt=b"vitrollout audit")


@dataclass(frozen=True)
class AuditEstimate:
    """A model's accuracy, estimated from the audit.

    Attributes:
        photos: answered photos of the audit.
        correct: of these, photos with the model's label confirmed.
        unsure: photos the reviewers are unsure of or dispute, not among `photos`.
        low, high: the exact 95% interval of the accuracy (Clopper & Pearson, Biometrika 1934); NaN without photos.
        low_bound, high_bound: the same with every unsure photo counted as wrong, or as correct.
    """

    photos: int
    correct: int
    unsure: int
    low: float
    high: float
    low_bound: float
    high_bound: float

    @property
    def accuracy(self) -> float:
        """The share of correct photos; NaN without photos."""
        return self.correct / self.photos if self.photos else math.nan

    def describe(self) -> str:
        """Return the estimate in words: `0.97 (0.95 to 0.98) of 400 photos`."""
        if not self.photos:
            return f"unknown, {self.unsure:,} unsure"
        text = f"{self.accuracy:.3g} ({self.low:.3g} to {self.high:.3g}) of {self.photos:,} photos"
        if self.unsure:
            bounds = f"{self.low_bound:.3g} to {self.high_bound:.3g}"
            text += f"; {bounds} with the {self.unsure:,} unsure as wrong or right"
        return text

    def as_json(self) -> dict[str, float | None]:
        """Convert to plain numbers for JSON, null for NaN."""
        return {name: None if math.isnan(number) else number for name, number in asdict(self).items()}


def audit_position(content_hash: str) -> float:
    """Return a photo's place in the audit, 0 up to 1, evenly spread: the audit of rate r has the places below r."""
    salted = _SALTED.copy()  # twice as fast as salting once more
    salted.update(content_hash.encode())
    return int.from_bytes(salted.digest(), "big") / 2**64


def estimate_accuracy(answers: Iterable[bool | None]) -> AuditEstimate:
    """Estimate the accuracy of a model from the answers of an audit.

    Args:
        answers: for each photo, whether the model's label was right; None: the reviewer is unsure.
    """
    from pipeline.intervals import share_interval  # imports scipy, and most readers of reviews need none

    answers = list(answers)
    photos, correct = sum(answer is not None for answer in answers), sum(answer is True for answer in answers)
    unsure = len(answers) - photos
    low, high = share_interval(correct, photos)
    return AuditEstimate(
        photos=photos,
        correct=correct,
        unsure=unsure,
        low=low,
        high=high,
        low_bound=share_interval(correct, len(answers))[0],
        high_bound=share_interval(correct + unsure, len(answers))[1],
    )
