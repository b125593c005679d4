"""What is new tonight: the photos of a run in a few numbers, held against those of the runs before.

A camera that was knocked out of focus shows here before anybody has opened a picture: scores fall, maps spread.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.maps.statistics import concentration
from pipeline.results.schema import Row

LOW_CONFIDENCE = 0.7  # scores below are for somebody to look at
_FEWEST_PHOTOS = 20  # a run of fewer says little
_FEWEST_RUNS = 3  # before there is a usual band
_WIDTH = 3.0  # of the band to either side, in standard deviations

# What is not worth a warning, however unusual: of averages in their unit, of shares in 0..1.
_NEGLIGIBLE = {"score": 0.02, "megapixels": 0.01, "map concentration": 0.01}
_NEGLIGIBLE_SHARE = 0.03


@dataclass(frozen=True)
class Average:
    """Mean and standard deviation over the photos of a run."""

    mean: float
    deviation: float


@dataclass(frozen=True)
class Profile:
    """The photos of one run in numbers.

    Attributes:
        photos: how many were processed.
        averages: of score (0..1), megapixels, and map concentration (see `maps.concentration`), over those that are ok.
        shares: of all photos: "failed", "low confidence", and "label X" of each label X; 0..1.
    """

    photos: int
    averages: dict[str, Average]
    shares: dict[str, float]


class Profiler:
    """Gathers the profile of a run, row by row, in memory that does not grow with the rows."""

    def __init__(self) -> None:
        self.labels = Counter[str]()  # photos that are ok, by label
        self.failed = 0
        self._unsure = 0
        self._sums: dict[str, Any] = defaultdict(lambda: np.zeros(2))  # of values and of their squares

    def add(self, rows: Iterable[Row]) -> None:
        """Count rows of the table."""
        for row in rows:
            if row.label is None or row.score is None or row.attention is None or row.width is None:
                self.failed += 1
                continue
            self.labels[row.label] += 1
            self._unsure += row.score < LOW_CONFIDENCE
            values = {
                "score": row.score,
                "megapixels": row.width * (row.height or 0) / 1e6,
                "map concentration": float(concentration(row.attention)),
            }
            for name, value in values.items():
                self._sums[name] += (value, value**2)

    @property
    def photos(self) -> int:
        """Rows counted so far."""
        return self.labels.total() + self.failed

    def profile(self) -> Profile:
        """The profile of the rows counted so far."""
        ok, photos = self.labels.total(), max(1, self.photos)
        averages = {}
        for name, sums in self._sums.items():
            mean, square = (sums / ok).tolist()
            averages[name] = Average(mean, math.sqrt(max(0.0, square - mean**2)))
        counts = {"failed": self.failed, "low confidence": self._unsure}
        counts |= {f"label {label}": count for label, count in self.labels.most_common()}
        return Profile(self.photos, averages, {name: count / photos for name, count in counts.items()})


def earlier_profiles(records: Sequence[Path], fingerprint: str, most: int) -> list[Profile]:
    """Profiles of the newest runs with the same model and settings, of those with photos enough to say something."""
    found: list[Profile] = []
    for record in reversed(records):
        if len(found) == most:
            break
        try:
            content = json.loads(record.read_text(encoding="utf-8"))
            profile = _from_json(content["profile"]) if content["fingerprint"] == fingerprint else None
        except (ValueError, KeyError, TypeError):
            continue  # of a version that kept none
        if profile is not None and profile.photos >= _FEWEST_PHOTOS:
            found.append(profile)
    return found


def changes(tonight: Profile, earlier: Sequence[Profile]) -> list[str]:
    """What leaves its usual band, in plain sentences; nothing where there are too few photos or runs to tell.

    The band is the mean of the earlier runs ± 3 standard deviations: of those runs, and of what chance does to a
    run of as many photos as tonight.
    """
    if tonight.photos < _FEWEST_PHOTOS or len(earlier) < _FEWEST_RUNS:
        return []
    found = []
    for name, average in tonight.averages.items():
        before = [profile.averages[name].mean for profile in earlier if name in profile.averages]
        chance = average.deviation / math.sqrt(tonight.photos)
        if band := _left_band(average.mean, before, chance, _NEGLIGIBLE[name]):
            found.append(f"{name}: {average.mean:.3g} on average, usually {band[0]:.3g} to {band[1]:.3g}")
    for name in sorted({name for profile in (tonight, *earlier) for name in profile.shares}):
        share = tonight.shares.get(name, 0.0)
        before = [profile.shares.get(name, 0.0) for profile in earlier]
        usual = float(np.mean(before))
        chance = math.sqrt(max(usual * (1 - usual), 1 / tonight.photos) / tonight.photos)
        if band := _left_band(share, before, chance, _NEGLIGIBLE_SHARE):
            found.append(f"{name}: {share:.1%} of the photos, usually {max(0, band[0]):.1%} to {min(1, band[1]):.1%}")
    return found


def to_json(profile: Profile) -> dict[str, Any]:
    """As it stands in a run's record."""
    return asdict(profile)


def _from_json(content: Any) -> Profile:
    averages = {name: Average(**average) for name, average in content["averages"].items()}
    return Profile(content["photos"], averages, content["shares"])


def _left_band(value: float, before: Sequence[float], chance: float, negligible: float) -> tuple[float, float] | None:
    """The usual band, if the value is outside it by more than is negligible."""
    if len(before) < _FEWEST_RUNS:
        return None
    usual = float(np.mean(before))
    width = max(_WIDTH * math.hypot(float(np.std(before, ddof=1)), chance), negligible)
    return None if abs(value - usual) <= width else (usual - width, usual + width)
