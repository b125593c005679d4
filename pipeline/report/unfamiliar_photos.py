"""Photos unlike the training photos: their number, and the words about them."""

from dataclasses import dataclass

import numpy as np

from pipeline.records import UNFAMILIAR_FROM
from pipeline.report.part_columns import Mask
from pipeline.report.table_columns import TableColumns

_MOST = 0.5  # from this share on, they are a warning
_UNLIKE = "unlike those that this model learned from"
_SO = "its labels for them mean little"


@dataclass(frozen=True)
class UnfamiliarCount:
    """Photos unlike the training photos, among others.

    Attributes:
        unfamiliar: their number.
        measured: photos compared with the training photos.
        ok: all photos with a label.
    """

    unfamiliar: int
    measured: int
    ok: int

    @property
    def share(self) -> float:
        """Share of the photos with a label, compared or not: rows of earlier versions were not."""
        return self.unfamiliar / self.ok if self.ok else 0.0


@dataclass(frozen=True)
class UnfamiliarPhotos:
    """Photos unlike the training photos, in the table and among the rows of the newest run.

    A camera changed last night is news although a large archive hardly notices; and an archive of the wrong photos
    stays one after a last run of three good ones. So either may be the warning.
    """

    table: UnfamiliarCount
    newest: UnfamiliarCount

    @property
    def warning(self) -> str:
        """One sentence if most photos of the table, or of the newest run, are unfamiliar; else empty."""
        if self.table.share >= _MOST:
            return f"{self.table.share:.0%} of these photos are {_UNLIKE}; {_SO}."
        if self.newest.share >= _MOST:
            counts = f"{self.newest.unfamiliar:,} of {self.newest.ok:,}"
            return f"{self.newest.share:.0%} of the last run's photos ({counts}) are {_UNLIKE}; {_SO}."
        return ""

    @property
    def sentence(self) -> str:
        """One sentence with the number; empty if no photo was compared with the training photos."""
        count = self.table
        if not count.measured:
            return ""
        measured = "" if count.measured == count.ok else f" Compared: {count.measured:,} of {count.ok:,} photos."
        if not count.unfamiliar:
            return f"No photo is {_UNLIKE}.{measured}"
        verb = "is" if count.unfamiliar == 1 else "are"
        return f"{count.unfamiliar:,} of {count.ok:,} photos {verb} {_UNLIKE}.{measured}"


def count_unfamiliar(columns: TableColumns) -> UnfamiliarPhotos:
    """Count the current photos of a table unlike the training photos."""
    is_ok = columns.is_current & ~columns.is_failed
    newest = columns.run[columns.is_current].max(initial=-1)
    return UnfamiliarPhotos(_count_rows(columns, is_ok), _count_rows(columns, is_ok & (columns.run == newest)))


def _count_rows(columns: TableColumns, mask: Mask) -> UnfamiliarCount:
    values = columns.unfamiliar[mask]
    return UnfamiliarCount(
        unfamiliar=int(np.count_nonzero(values > UNFAMILIAR_FROM)),
        measured=int(np.count_nonzero(~np.isnan(values))),
        ok=len(values),
    )
