"""The orders that look at every map: methods at odds with each other, and photos unlike the usual ones."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.decision import without_decision
from pipeline.maps.statistics import cell_shares, concentration
from pipeline.records import Doubles, Floats
from pipeline.report.drift import Average, earlier_profiles
from pipeline.results.run_record import newest_run_records
from pipeline.review.map_arrays import gather_maps, pair_maps
from pipeline.review.ranking import QueueInput, Ranking, sort_rows

_MOST_RUNS = 100  # behind the usual values
# A smaller deviation counts as this one: photos of one camera have the same size.
_LEAST_DEVIATION = {"score": 0.01, "megapixels": 0.01, "map concentration": 0.005}
_NO_METHODS = "no photo has maps of two methods; run with several: --method libragrad,rollout"
_NO_RUNS = "drift needs the profile of a run with the same model and settings, in runs/; it has none yet"


@dataclass(frozen=True)
class _Overlaps:
    """The least overlap of two maps of each photo.

    Attributes:
        shares: (n,), 0..1; NaN for photos with one map.
        pairs: (n,), the two methods, a place in `names`.
        names: "method and method".
    """

    shares: Doubles
    pairs: npt.NDArray[np.int64]
    names: list[str]


def rank_by_overlap(queue: QueueInput) -> Ranking:
    """Rank by the overlap of the maps of two methods, the least first; of several methods, the two most at odds."""
    chosen, left_out = queue.choose_doubtful()
    overlaps = _measure_overlaps(queue)
    rows = sort_rows(np.flatnonzero(chosen & ~np.isnan(overlaps.shares)), overlaps.shares)

    def explain(row: int) -> str:
        return f"the maps of {overlaps.names[overlaps.pairs[row]]} overlap by {overlaps.shares[row]:.0%}"

    return Ranking(rows, explain, _NO_METHODS, left_out if len(rows) else {})


def map_overlap(maps: Floats, others: Floats) -> Doubles:
    """Return the common part of two maps' `cell_shares`: (..., cells) twice -> (...,), 0 apart, 1 the same."""
    common: Doubles = np.minimum(cell_shares(maps), cell_shares(others)).sum(axis=-1, dtype=np.float64)
    return common


def rank_by_drift(queue: QueueInput) -> Ranking:
    """Rank by the distance from the usual score, size and concentration of the map, the farthest first.

    The usual values are those of earlier runs with the same fingerprint, or of the only one; distances are in standard
    deviations of their photos.
    """
    chosen, left_out = queue.choose_doubtful()
    names = list(_LEAST_DEVIATION)
    values, usual = _measure_photos(queue), _find_usual(queue)
    deviation = np.maximum(usual[..., 1], list(_LEAST_DEVIATION.values()))
    distances = np.abs(values - usual[..., 0]) / deviation  # (n, 3), NaN for a fingerprint without a profile
    farthest = np.nan_to_num(distances, nan=-1).argmax(axis=1)
    distance = distances[np.arange(len(distances)), farthest]
    rows = sort_rows(np.flatnonzero(chosen & ~np.isnan(distance)), -distance)

    def explain(row: int) -> str:
        number = farthest[row]
        value, (mean, _) = values[row, number], usual[row, number]
        return f"{names[number]} {value:.3g}, usually {mean:.3g}: {distance[row]:.1f} standard deviations away"

    return Ranking(rows, explain, _NO_RUNS, left_out if len(rows) else {})


def pool_averages(averages: Sequence[Average], photos: Sequence[int]) -> Average:
    """Combine means and deviations of several runs into those of all their photos."""
    means, deviations = (np.array([getattr(each, name) for each in averages]) for name in ("mean", "deviation"))
    mean = float(np.average(means, weights=photos))
    return Average(mean, float(np.sqrt(np.average(deviations**2 + (means - mean) ** 2, weights=photos))))


def _measure_overlaps(queue: QueueInput) -> _Overlaps:
    shares = np.full(len(queue.rows), np.nan)
    pairs = np.zeros(len(queue.rows), np.int64)
    numbers: dict[str, int] = {}
    for rows, table in queue.source.read_parts(["method", "attention", "more_maps"]):
        for one, other in pair_maps(gather_maps(table)):
            number = numbers.setdefault(f"{one.method} and {other.method}", len(numbers))
            found, overlap = rows[one.rows], map_overlap(one.maps, other.maps)
            is_less = ~(overlap >= shares[found])  # also for the first pair of a photo
            shares[found[is_less]], pairs[found[is_less]] = overlap[is_less], number
    return _Overlaps(shares, pairs, list(numbers))


def _measure_photos(queue: QueueInput) -> Doubles:
    """Measure score, megapixels and map concentration of each photo: (n, 3)."""
    size = (queue.rows.table[name].to_numpy().astype(np.float64) for name in ("width", "height"))
    values = np.full((len(queue.rows), 3), np.nan)
    values[:, 0], values[:, 1] = queue.rows.scores, np.multiply(*size) / 1e6
    for rows, table in queue.source.read_parts(["method", "attention"]):
        for each in gather_maps(table):
            values[rows[each.rows], 2] = concentration(each.maps)
    return values


def _find_usual(queue: QueueInput) -> Doubles:
    """Find the usual mean and deviation of each number for each photo: (n, 3, 2), NaN without a run of its kind."""
    usual = np.full((len(queue.rows), len(_LEAST_DEVIATION), 2), np.nan)
    run_ids = queue.rows.table["run_id"].cast(pa.string())
    runs: dict[str, list[str]] = defaultdict(list)  # by the run's fingerprint; a row's own may depend on its photo
    for record in newest_run_records(queue.rows.out):
        runs[without_decision(record.fingerprint)].append(record.summary.run_id)
    for fingerprint, of_fingerprint in runs.items():
        is_of_it = pc.is_in(run_ids, pa.array(of_fingerprint)).to_numpy()
        profiles = earlier_profiles(queue.rows.out, fingerprint, _MOST_RUNS) if is_of_it.any() else []
        profiles = profiles[1:] or profiles  # the newest run is the one in question
        for number, name in enumerate(_LEAST_DEVIATION):
            known = [(profile.averages[name], profile.photos) for profile in profiles if name in profile.averages]
            if known:
                average = pool_averages(*zip(*known, strict=True))
                usual[is_of_it, number] = average.mean, average.deviation
    return usual
