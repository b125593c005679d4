"""The photos of a run in a few numbers, compared with earlier runs.

A camera out of focus shows here before anybody has opened a picture: scores fall, maps spread out.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.decision import OUTCOMES, without_decision
from pipeline.maps.statistics import concentration
from pipeline.records import UNFAMILIAR_FROM, Doubles
from pipeline.results.run_record import newest_run_records
from pipeline.storage.location import Location

LOW_CONFIDENCE = 0.7  # photos with a lower score deserve a look
_FEWEST_PHOTOS = 20  # a smaller run says little
_FEWEST_RUNS = 3  # needed for a usual band
_DECISION = "decision "  # shares with this prefix are missing where nothing was decided
_UNFAMILIAR = "unfamiliar"  # and this one where no photo was compared with the training photos
_BAND_WIDTH = 3.0  # to either side, in standard deviations

# Differences too small for a warning, however unusual: of averages in their unit, of shares in 0..1.
_NEGLIGIBLE = {"score": 0.02, "megapixels": 0.01, "map concentration": 0.01}
_COUNTS = ("labels", "decisions", "failed", "failed_again", "tried_again", "rated", "unfamiliar")  # of a profiler
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
        photos: number of processed photos.
        averages: of score (0..1), megapixels, and map concentration (see `statistics.concentration`), over ok photos.
        shares: of all photos: "failed", "low confidence", "label X" of each label X, "decision X" of each decision X of
            a model with decisions, and "unfamiliar" of a model with statistics of its training photos; 0..1.
    """

    photos: int
    averages: dict[str, Average]
    shares: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return the profile for a run's record."""
        return asdict(self)


class Profiler:
    """Gathers the profile of a run, part by part, in constant memory.

    Mean and standard deviation come from sums of values and of squares: sqrt(E[x^2] - E[x]^2).

    Attributes:
        labels: ok photos by label.
        decisions: ok photos by decision.
        failed: number of failed photos.
        failed_again: of these, photos that failed in an earlier run too.
        tried_again: photos that failed in an earlier run.
        rated: ok photos compared with the model's training photos.
        unfamiliar: of these, photos unlike them.
    """

    def __init__(self) -> None:
        self.labels, self.decisions = Counter[str](), Counter[str]()
        self.failed = self.failed_again = self.tried_again = 0
        self.rated = self.unfamiliar = 0
        self._low_confidence = 0
        self._sums: dict[str, Any] = defaultdict(lambda: np.zeros(2))  # of values and of their squares

    def add(self, rows: pa.Table, failed_before: Collection[str] = frozenset()) -> None:
        """Count rows of the table.

        Args:
            rows: of photos not counted before.
            failed_before: paths of photos that failed in an earlier run.
        """
        ok = rows.filter(rows["label"].is_valid())
        self.failed += len(rows) - len(ok)
        if failed_before:
            paths = set(rows["path"].to_pylist()) & set(failed_before)
            self.tried_again += len(paths)
            self.failed_again += len(paths - set(ok["path"].to_pylist()))
        if len(ok) == 0:
            return
        self.labels.update(ok["label"].to_pylist())
        self.decisions.update(ok["decision"].drop_null().to_pylist())
        unfamiliar = ok["unfamiliar"].drop_null().to_numpy()  # float32, and so are the limits
        self.rated += len(unfamiliar)
        self.unfamiliar += int((unfamiliar > np.float32(UNFAMILIAR_FROM)).sum())
        scores = ok["score"].to_numpy()
        self._low_confidence += int((scores < np.float32(LOW_CONFIDENCE)).sum())
        columns = {
            "score": scores,
            "megapixels": ok["width"].to_numpy() * (ok["height"].to_numpy() / 1e6),
            "map concentration": _concentrations(ok["attention"]),
        }
        for name, values in columns.items():
            exact = values.astype(np.float64)
            self._sums[name] += (exact.sum(), (exact**2).sum())

    def as_text(self) -> str:
        """Return the counts and sums as JSON, for the metadata of a part."""
        counts = {name: getattr(self, name) for name in _COUNTS}
        sums = {name: values.tolist() for name, values in self._sums.items()}
        return json.dumps(counts | {"low_confidence": self._low_confidence, "sums": sums})

    def add_text(self, text: str) -> None:
        """Add the counts and sums of another profiler, from its `as_text`."""
        content = json.loads(text)
        self.labels.update(content["labels"])
        self.decisions.update(content["decisions"])
        self.failed += content["failed"]
        self.failed_again += content["failed_again"]
        self.tried_again += content["tried_again"]
        self.rated += content.get("rated", 0)  # missing from parts of earlier versions
        self.unfamiliar += content.get("unfamiliar", 0)
        self._low_confidence += content["low_confidence"]
        for name, values in content["sums"].items():
            self._sums[name] += values

    @property
    def photos(self) -> int:
        """Number of rows so far."""
        return self.labels.total() + self.failed

    def profile(self) -> Profile:
        """Return the profile of the rows so far."""
        ok, photos = self.labels.total(), max(1, self.photos)
        averages = {}
        for name, sums in self._sums.items():
            mean, mean_square = (sums / ok).tolist()
            averages[name] = Average(mean, math.sqrt(max(0.0, mean_square - mean**2)))
        counts = {"failed": self.failed, "low confidence": self._low_confidence}
        counts |= {f"label {label}": count for label, count in self.labels.most_common()}
        if self.decisions:
            counts |= {f"{_DECISION}{outcome}": self.decisions[outcome] for outcome in OUTCOMES}
        if self.rated:
            counts[_UNFAMILIAR] = self.unfamiliar
        return Profile(self.photos, averages, {name: count / photos for name, count in counts.items()})


def _concentrations(maps: pa.ChunkedArray) -> Doubles:
    """Return the concentration of each map, in any order: maps of one size together."""
    by_size = defaultdict(list)
    for values in maps.to_numpy():
        by_size[len(values)].append(values)
    return np.concatenate([np.empty(0), *(concentration(np.stack(same)) for same in by_size.values())])


def earlier_profiles(out: Location, fingerprint: str, most: int) -> list[Profile]:
    """Read the profiles of the newest runs with the same model and settings, if they have enough photos.

    Runs under another decision count as well, but for their shares of decisions.
    """
    profiles = (
        _parse_profile(record.profile, with_decisions=record.fingerprint == fingerprint)
        for record in newest_run_records(out)
        if record.profile is not None and without_decision(record.fingerprint) == without_decision(fingerprint)
    )
    return list(islice((profile for profile in profiles if profile and profile.photos >= _FEWEST_PHOTOS), most))


def drift_warnings(tonight: Profile, earlier: Sequence[Profile]) -> list[str]:
    """Describe the numbers outside their usual band, in plain sentences; none with too few photos or runs.

    The band is the mean of the earlier runs ± 3 standard deviations: of those runs, combined with the chance variation
    of a run of tonight's size.
    """
    if tonight.photos < _FEWEST_PHOTOS or len(earlier) < _FEWEST_RUNS:
        return []
    warnings = []
    for name, average in tonight.averages.items():
        before = [profile.averages[name].mean for profile in earlier if name in profile.averages]
        chance = average.deviation / math.sqrt(tonight.photos)
        if band := _band_left_by(average.mean, before, chance, _NEGLIGIBLE[name]):
            warnings.append(f"{name}: {average.mean:.3g} on average, usually {band[0]:.3g} to {band[1]:.3g}")
    for name in sorted({name for profile in (tonight, *earlier) for name in profile.shares}):
        share = tonight.shares.get(name, 0.0)
        may_be_missing = name.startswith(_DECISION) or name == _UNFAMILIAR
        known = [profile for profile in earlier if name in profile.shares or not may_be_missing]
        if not known:
            continue
        before = [profile.shares.get(name, 0.0) for profile in known]
        usual = float(np.mean(before))
        chance = math.sqrt(max(usual * (1 - usual), 1 / tonight.photos) / tonight.photos)
        if band := _band_left_by(share, before, chance, _NEGLIGIBLE_SHARE):
            low, high = max(0, band[0]), min(1, band[1])
            warnings.append(f"{name}: {share:.1%} of the photos, usually {low:.1%} to {high:.1%}")
    return warnings


def _parse_profile(content: Mapping[str, Any], *, with_decisions: bool) -> Profile | None:
    """Parse the profile in a record; None for the format of another version."""
    try:
        averages = {name: Average(**average) for name, average in content["averages"].items()}
        shares = content["shares"]
        if not with_decisions:
            shares = {name: share for name, share in shares.items() if not name.startswith(_DECISION)}
        return Profile(content["photos"], averages, shares)
    except (KeyError, TypeError, AttributeError):
        return None


def _band_left_by(
    value: float, before: Sequence[float], chance: float, negligible: float
) -> tuple[float, float] | None:
    """Return the usual band if the value is outside it by more than a negligible difference."""
    if len(before) < _FEWEST_RUNS:
        return None
    usual = float(np.mean(before))
    width = max(_BAND_WIDTH * math.hypot(float(np.std(before, ddof=1)), chance), negligible)
    return None if abs(value - usual) <= width else (usual - width, usual + width)
