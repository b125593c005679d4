"""The map of the archive: photos with similar embeddings lie close together."""

from dataclasses import dataclass

import numpy as np

from pipeline.records import Doubles
from pipeline.report.map_sample import MOST_POINTS, read_map_photos
from pipeline.report.part_columns import Integers
from pipeline.report.projection import project_embeddings
from pipeline.report.table_columns import TableColumns

_FEWEST_POINTS = 3  # with fewer there is nothing to see


@dataclass(frozen=True)
class ArchiveMap:
    """A map of photos.

    Attributes:
        places: n places among the photos to choose from.
        points: (n, 2), from 0 to 1 along the longer side; y grows upwards.
        method: how they were computed, for the page.
    """

    places: Integers
    points: Doubles
    method: str

    def describe(self, photos: int) -> str:
        """Return one sentence for the page.

        Args:
            photos: number of photos in the table, without the failed ones.
        """
        shown = f"{len(self.places):,}" + (f" of {photos:,}" if photos > len(self.places) else "")
        spread = ", spread over the labels" if len(self.places) == MOST_POINTS else ""
        which = f"The map shows {shown} photos{spread} ({self.method})."
        return f"Photos that look alike to the model lie close together. {which}"


def draw_archive_map(columns: TableColumns, rows: Integers) -> ArchiveMap | None:
    """Draw a map of photos with embeddings; None without enough of them.

    Args:
        columns: of the table.
        rows: the photos to choose from, rows of the table, ascending.
    """
    photos = read_map_photos(columns, rows)
    if len(photos.rows) < _FEWEST_POINTS:
        return None
    projection = project_embeddings(photos.embeddings)
    points = projection.points - projection.points.min(axis=0)
    points /= points.max() or 1
    return ArchiveMap(np.searchsorted(rows, photos.rows), points, projection.method)
