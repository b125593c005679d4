"""The work left to do: the photos found, minus those with a current row in the table."""

import operator
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.photos.left_out import log_left_out
from pipeline.photos.sample import Sampler
from pipeline.photos.source import Source
from pipeline.planning.decide import Decisions, Judge, Mask
from pipeline.planning.plan import Plan, PlanSettings
from pipeline.planning.plan_schema import PLAN_SCHEMA, plan_of_refs
from pipeline.planning.suspects import compare_content
from pipeline.planning.targets import LabelCheck
from pipeline.records import ImageRef
from pipeline.results.clashing import find_clashing
from pipeline.results.done_index import DoneIndex, Ints, read_done_index, to_arrow
from pipeline.results.gone import count_gone
from pipeline.results.parts import read_part
from pipeline.results.restamp import TouchedRows, split_touched
from pipeline.storage.location import Location


def make_plan(
    source: Source,
    out: Location,
    fingerprint_of: Callable[[str], str],
    settings: PlanSettings,
    labels: LabelCheck | None = None,
) -> Plan:
    """Decide about each photo of a source, a chunk at a time; only those with work left are kept.

    Args:
        source: the photos.
        out: the results folder.
        fingerprint_of: of a photo in this run, by path.
        settings: of the run.
        labels: finds the label expected of each photo, for target = expected.

    Raises:
        StoreError: a part of the table is damaged.
        ConfigError: as `LabelCheck.finish`.
    """
    while True:
        planner = _Planner(read_done_index(out), fingerprint_of, settings, labels)
        for refs in source.chunks():
            planner.add(refs)
        log_left_out(source.left_out)
        if labels:
            labels.finish()
        try:
            return planner.finish(source)
        except FileNotFoundError:
            continue  # a part was compacted meanwhile, as may happen to a preview


class _Planner:
    """A plan in the making: counts of the photos seen so far, and those with work left."""

    def __init__(
        self,
        index: DoneIndex,
        fingerprint_of: Callable[[str], str],
        settings: PlanSettings,
        labels: LabelCheck | None,
    ) -> None:
        self._index, self._settings, self._labels = index, settings, labels
        self._judge = Judge(index, fingerprint_of, retry_failed=settings.retry_failed)
        self._is_seen = np.zeros(len(index), bool)
        self._counts: Counter[str] = Counter()
        self._pending: list[pa.Table] = []
        self._is_sorted, self._last_path = True, ""
        self._suspects: list[pa.Table] = []  # PLAN_SCHEMA, row, has_other_decision
        self._touched: list[tuple[Ints, Ints]] = []  # rows, mtimes
        self._sampler = Sampler(settings.sample) if settings.sample else None

    def add(self, refs: Sequence[ImageRef]) -> None:
        """Decide about more photos."""
        if self._sampler:
            self._sampler.add(ref.path for ref in refs)
        if self._labels:
            refs = self._labels.check(refs)
        decisions = self._judge.decide(refs)
        self._is_seen[decisions.rows[~decisions.is_new]] = True
        self._counts.update(
            found=len(refs),
            new=int(decisions.is_new.sum()),
            changed=int(decisions.is_changed.sum()),
            failed_before=int(decisions.has_failed.sum()),
            rejudged=int(decisions.is_rejudged.sum()),
        )
        if decisions.is_pending.any():
            self._add_pending(self._to_table(refs, decisions, decisions.is_pending))
        if decisions.is_suspect.any():
            self._suspects.append(self._to_suspects(refs, decisions))
        if decisions.is_rejudged.any():
            self._touched.append((decisions.rows[decisions.is_rejudged], decisions.mtimes[decisions.is_rejudged]))

    def finish(self, source: Source) -> Plan:
        """Look at the content of suspects, at clashing names and at rows without a photo; return the plan.

        Raises:
            FileNotFoundError: a part has been compacted since the index was read.
        """
        if self._suspects:
            self._compare_suspects()
        touched = self._split_touched()
        pending = self._join_pending()
        done = self._counts["found"] - len(pending) - len(touched)
        rows = self._index.current_rows()
        gone = count_gone(source, self._index, rows[~self._is_seen[rows]])
        if len(pending) and self._settings.draws_overlays:
            others = (read_part(part, ["path"])["path"] for part in self._index.parts)
            pending = _set_flags(pending, "clashes", find_clashing(pending["path"], others))
        return Plan(self._choose_pending(pending), touched, done=done, gone=gone, **self._counts)

    def _add_pending(self, table: pa.Table) -> None:
        """Keep photos to process; from a folder they come sorted by path, but for rare names."""
        paths = [self._last_path, *table["path"].to_pylist()]
        self._is_sorted &= all(map(operator.lt, paths[:-1], paths[1:]))
        self._last_path = paths[-1]
        self._pending.append(table)

    def _to_table(self, refs: Sequence[ImageRef], decisions: Decisions, mask: Mask) -> pa.Table:
        places = np.flatnonzero(mask).tolist()
        expected = self._labels.expected if self._labels else None
        failed_before = decisions.has_failed[places].tolist()
        return plan_of_refs([refs[place] for place in places], self._settings.source, failed_before, expected)

    def _to_suspects(self, refs: Sequence[ImageRef], decisions: Decisions) -> pa.Table:
        mask = decisions.is_suspect
        table = self._to_table(refs, decisions, mask).append_column("row", to_arrow(decisions.rows[mask]))
        return table.append_column("has_other_decision", pa.array(decisions.has_other_decision[mask]))

    def _compare_suspects(self) -> None:
        """Sort suspects into touched and pending photos."""
        suspects = pa.concat_tables(self._suspects)
        self._suspects.clear()
        for same, other in compare_content(self._index, suspects, self._settings.source):
            self._touched.append((same["row"].to_numpy(), same["mtime_ns"].to_numpy()))
            if len(other):
                self._add_pending(other.select(PLAN_SCHEMA.names))
            rejudged = pc.sum(same["has_other_decision"], min_count=0).as_py()
            self._counts.update(rejudged=rejudged, changed=len(other))

    def _split_touched(self) -> TouchedRows:
        if not self._touched:
            return TouchedRows()
        rows, mtimes = (np.concatenate(arrays) for arrays in zip(*self._touched, strict=True))
        return split_touched(self._index, rows, mtimes)

    def _join_pending(self) -> pa.Table:
        """Join the pending photos, sorted by path."""
        if not self._pending:
            return pa.Table.from_batches([], PLAN_SCHEMA)  # empty_table() imports pandas
        pending = pa.concat_tables(self._pending)
        self._pending.clear()
        return pending if self._is_sorted else pending.sort_by("path")

    def _choose_pending(self, pending: pa.Table) -> pa.Table:
        """Select the pending photos of the settings `sample` and `limit`, and those to get the overlays of a sample."""
        settings = self._settings
        if self._sampler:
            pending = pending.filter(_is_chosen(pending, self._sampler))
        pending = pending.slice(0, settings.limit)
        if settings.sampled_overlays:
            sampler = Sampler(settings.sampled_overlays)
            for batch in pending.to_batches():
                sampler.add(batch["path"].to_pylist())
            pending = _set_flags(pending, "sampled", _is_chosen(pending, sampler))
        return pending


def _is_chosen(pending: pa.Table, sampler: Sampler) -> pa.ChunkedArray:
    return pc.is_in(pending["path"], value_set=pa.array(sorted(sampler.chosen()), pa.string()))


def _set_flags(plan: pa.Table, name: str, flags: Iterable[bool]) -> pa.Table:
    column = flags if isinstance(flags, pa.ChunkedArray) else pa.array(flags)
    return plan.set_column(PLAN_SCHEMA.get_field_index(name), PLAN_SCHEMA.field(name), column)
