"""The result of comparing two models on the same photos."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.evaluation.exposure import Exposure
from pipeline.evaluation.metrics import Ids
from pipeline.evaluation.threshold import Flags
from pipeline.intervals import Estimate
from pipeline.labelled.splits import LabelledPhoto
from pipeline.records import Doubles

Right = Literal["model", "against", "neither"]

_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class PairedMetric:
    """A metric of both models on the same photos.

    Attributes:
        model, against: values; NaN if undefined on these photos.
        difference: model minus against, with the 95% interval of a paired bootstrap.
    """

    model: float
    against: float
    difference: Estimate


@dataclass(frozen=True)
class ChangedPhoto:
    """A photo with different labels by the two models.

    Attributes:
        path: as in the data set.
        label: the true one.
        model, against: the labels predicted.
        model_score, against_score: their probabilities.
        right: the model with the true label.
    """

    path: str
    label: str
    model: str
    model_score: float
    against: str
    against_score: float
    right: Right


@dataclass(frozen=True)
class PairedPhotos:
    """Truth and predictions of n photos, readable for both models, with labels known to both.

    Attributes:
        photos: the photos.
        labels: class names of both models; ids here are indices into it.
        truth: (n,) ids.
        predicted, against_predicted: (n,) ids.
        score, against_score: (n,) probability of the predicted class.
        is_defect: (n,) whether the true class is a defect; None without defect classes.
        called, against_called: (n,) whether the score of any defect is 0.5 or more; None without defect classes.
        left_out: number of other photos, by reason.
    """

    photos: tuple[LabelledPhoto, ...]
    labels: tuple[str, ...]
    truth: Ids
    predicted: Ids
    against_predicted: Ids
    score: Doubles
    against_score: Doubles
    is_defect: Flags | None
    called: Flags | None
    against_called: Flags | None
    left_out: Mapping[str, int]


@dataclass(frozen=True)
class Comparison:
    """Two models on the same photos.

    Attributes:
        model, against: their names.
        photos: number of photos.
        judged_on: the photos in words.
        resampled: units of the bootstrap: photos, or whole groups of photos.
        left_out: number of photos left out, by reason.
        metrics: accuracy, macro_f1, and with defect classes any_defect_recall and any_defect_false_alarms.
        only_model_right, only_against_right: numbers of photos.
        p: exact McNemar test: the probability of so uneven a number, or a more uneven one, for equally good models.
        changed: photos with different predictions.
        exposures: photos of the comparison seen in training, by model name.
    """

    model: str
    against: str
    photos: int
    judged_on: str
    resampled: Literal["photos", "groups"]
    left_out: Mapping[str, int]
    metrics: Mapping[str, PairedMetric]
    only_model_right: int
    only_against_right: int
    p: float
    changed: tuple[ChangedPhoto, ...]
    exposures: Mapping[str, Exposure]

    @property
    def better(self) -> str | None:
        """Name of the better model; None if they can't be told apart."""
        accuracy = self.metrics["accuracy"].difference
        is_clear = self.p < _SIGNIFICANT and not accuracy.low <= 0 <= accuracy.high
        return (self.model if accuracy.value > 0 else self.against) if is_clear else None

    @property
    def sentence(self) -> str:
        """The outcome in one sentence."""
        accuracy = self.metrics["accuracy"]
        first, second, sign = accuracy.model, accuracy.against, 1
        if self.better is None:
            verdict = f"{self.model} and {self.against} can't be told apart on {self.photos} photos"
        elif self.better == self.model:
            verdict = f"{self.model} is better than {self.against}"
        else:
            verdict = f"{self.against} is better than {self.model}"
            first, second, sign = second, first, -1
        low, high = sorted((sign * accuracy.difference.low, sign * accuracy.difference.high))
        interval = "" if low != low else f" (95% interval {low:+.3f} to {high:+.3f})"
        return (
            f"{verdict}: accuracy {first:.3f} against {second:.3f}, {first - second:+.3f}{interval}, "
            f"McNemar p = {_format_p(self.p)}"
        )

    def as_json(self) -> dict[str, Any]:
        """Convert to plain values for JSON, without the list of photos."""
        return {
            "model": self.model,
            "against": self.against,
            "sentence": self.sentence,
            "better": self.better,
            "photos": self.photos,
            "judged_on": self.judged_on,
            "resampled": self.resampled,
            "left_out": dict(self.left_out),
            "metrics": {
                name: {
                    "model": Estimate(metric.model).as_json()["value"],
                    "against": Estimate(metric.against).as_json()["value"],
                    "difference": metric.difference.as_json(),
                }
                for name, metric in self.metrics.items()
            },
            "only_model_right": self.only_model_right,
            "only_against_right": self.only_against_right,
            "mcnemar_p": self.p,
            "changed": len(self.changed),
            "exposures": {name: vars(exposure) for name, exposure in self.exposures.items()},
        }


def _format_p(p: float) -> str:
    return f"{p:.4f}" if p >= 0.0001 else f"{p:.1e}"
