"""The verdict on the maps of a model: which methods hold, and which one its runs take.

`verdict.json` in a model's folder holds it. `vitrollout trust --save` measures it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from pipeline.errors import ModelError, one_line
from pipeline.maps.methods import MethodName
from pipeline.model_json import read_model_json, write_model_json

VERDICT_FILE = "verdict.json"

_Faithfulness = Annotated[float, Field(ge=-1, le=1)]


@dataclass(frozen=True)
class TrustedMethod:
    """A method better than every map without knowledge of the model.

    Attributes:
        name: of the method.
        faithfulness: insertion minus deletion, the mean over the photos, -1..1.
        low, high: its 95% interval.
        points_inside: share of the photos with the hottest patch inside the marked defect, 0..1; None without marks.
        seconds_per_image: its map and the classification, the median.
    """

    name: MethodName
    faithfulness: _Faithfulness
    low: _Faithfulness
    high: _Faithfulness
    points_inside: Annotated[float, Field(ge=0, le=1)] | None
    seconds_per_image: Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class MeasuredOn:
    """The origin of a verdict.

    Attributes:
        data: name of the photos.
        photos: number of photos.
        pointed: photos behind `points_inside`.
        measured_at: ISO 8601, UTC.
        model_digest: of the model's files, see `Checkpoint.digest`.
        input_size: (H, W) in pixels, or None for the model's own.
        precision: of the forward pass.
    """

    data: str
    photos: Annotated[int, Field(ge=1)]
    pointed: Annotated[int, Field(ge=0)]
    measured_at: str
    model_digest: str
    input_size: tuple[int, int] | None
    precision: str


@dataclass(frozen=True)
class Verdict:
    """The content of `verdict.json`.

    Attributes:
        method: the method of runs, one of the trusted ones; None: no method holds for this model.
        trusted: the methods that hold, best first.
        sentence: advice in words.
        measured_on: the origin.
        version: of the format.
    """

    method: MethodName | None
    trusted: tuple[TrustedMethod, ...]
    sentence: str
    measured_on: MeasuredOn
    version: Literal[1] = 1

    def describe(self) -> str:
        """Return the verdict on one line, for the log."""
        origin = self.measured_on
        measured = f"measured on {origin.photos} photos of {origin.data}"
        hits = next((method.points_inside for method in self.trusted if method.name == self.method), None)
        if hits is None:
            return measured
        return f"{measured}, points inside the marked defect in {hits:.0%} of {origin.pointed}"


def read_verdict(folder: Path) -> Verdict | None:
    """Read the verdict of a model's folder; None without a file.

    Raises:
        ModelError: the file is damaged.
    """
    file = folder / VERDICT_FILE
    try:
        verdict = read_model_json(file, Verdict)
    except ValueError as error:
        raise _unusable_verdict(folder, str(error)) from None
    if verdict is None:
        return None
    names = [method.name for method in verdict.trusted]
    if (verdict.method is None) != (not names) or verdict.method not in (None, *names):
        raise _unusable_verdict(
            folder, f"method = {verdict.method} is not one of the trusted: {', '.join(names) or 'none'}"
        )
    return verdict


def check_verdict(verdict: Verdict, folder: Path, model_digest: str) -> None:
    """Check that a verdict was measured with this model.

    Args:
        verdict: read from the folder.
        folder: of the model.
        model_digest: of the model's files, see `Checkpoint.digest`.

    Raises:
        ModelError: the model has other weights or another preprocessing than the verdict's.
    """
    if verdict.measured_on.model_digest != model_digest:
        raise _unusable_verdict(folder, "it was measured with other weights or another preprocessing")


def write_verdict(verdict: Verdict, folder: Path) -> Path:
    """Write a verdict into a model's folder; return the file.

    Raises:
        StoreError: the folder can't be written.
    """
    return write_model_json(verdict, folder / VERDICT_FILE)


def _unusable_verdict(folder: Path, reason: str) -> ModelError:
    return ModelError(
        f"{folder / VERDICT_FILE}: {one_line(reason, 200)}; measure it again with vitrollout trust DATA --model "
        f"{folder} --save, or remove the file"
    )
