"""The rows of the newest run beside the rows they replaced."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.report.part_columns import Integers
from pipeline.report.table_columns import TableColumns
from pipeline.results.current_rows import Hashes
from pipeline.results.names import run_id_of_part


@dataclass(frozen=True)
class Changes:
    """The photos changed by the newest run, as numbers of rows.

    Attributes:
        new: photos seen for the first time.
        relabelled: photos with another label than before.
        before: the earlier label of each relabelled photo; -1 if it had failed.
    """

    new: Integers
    relabelled: Integers
    before: Integers

    def count_pairs(self, columns: TableColumns) -> Sequence[tuple[str, str, int]]:
        """Count the relabelled photos by label before and label now, most frequent first."""
        pairs = np.stack([self.before, columns.label[self.relabelled]], axis=1)
        kinds, counts = np.unique(pairs, axis=0, return_counts=True)
        names = [(columns.label_name(before), columns.label_name(now)) for before, now in kinds.tolist()]
        counted = zip(names, counts.tolist(), strict=True)
        return sorted(((*pair, count) for pair, count in counted), key=lambda item: (-item[2], *item[:2]))


def find_changes(columns: TableColumns) -> Changes:
    """Compare the newest run with the rows before it.

    After a compaction there is nothing to compare with: it drops the earlier rows.
    """
    none = np.empty(0, np.int64)
    newest = columns.run[columns.is_current].max(initial=-1)
    if newest < 0 or any(run_id_of_part(part) > columns.runs[newest] for part in columns.parts):
        return Changes(none, none, none)
    tonight = np.flatnonzero(columns.is_current & (columns.run == newest))
    hashes, before = _find_labels_before(columns, newest, tonight)
    place = np.searchsorted(hashes, columns.path_hash[tonight])
    is_known = place < len(hashes)
    is_known[is_known] = hashes[place[is_known]] == columns.path_hash[tonight[is_known]]
    known, before = tonight[is_known], before[place[is_known]]
    is_relabelled = columns.label[known] != before
    return Changes(tonight[~is_known], known[is_relabelled], before[is_relabelled])


def _find_labels_before(columns: TableColumns, newest: int, tonight: Integers) -> tuple[Hashes, Integers]:
    """Return the hashes of tonight's paths with earlier rows, sorted, and the label of the last of these rows."""
    earlier = np.flatnonzero(~columns.is_current & (columns.run < newest))  # few: replaced rows
    earlier = earlier[np.isin(columns.path_hash[earlier], columns.path_hash[tonight])]
    earlier = earlier[np.lexsort((earlier, columns.run[earlier], columns.path_hash[earlier]))]
    hashes = columns.path_hash[earlier]
    is_last = np.ones(len(hashes), bool)
    is_last[:-1] = hashes[1:] != hashes[:-1]
    return hashes[is_last], columns.label[earlier[is_last]]
