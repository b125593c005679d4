"""Boxes proposed from a map: where the model looked, as a start for the reviewer's own."""

from dataclasses import asdict, dataclass
from typing import Any

from pipeline.maps.hot_regions import HotRegion, find_hot_regions
from pipeline.review.row_maps import RowMaps

SEED_METHOD = "libragrad"  # its maps fall to nothing beside a defect; those of rollout don't


@dataclass(frozen=True)
class Seeds:
    """The proposed boxes of a photo.

    Attributes:
        boxes: the hottest first.
        method: of the map; None without one.
        warning: why they deserve little trust, or None.
    """

    boxes: tuple[HotRegion, ...]
    method: str | None
    warning: str | None

    def as_json(self) -> dict[str, Any]:
        """Convert to plain values for JSON."""
        return {"boxes": [asdict(box) for box in self.boxes], "method": self.method, "warning": self.warning}


def propose_boxes(maps: RowMaps | None, size: tuple[int, int]) -> Seeds:
    """Propose boxes from the best of a photo's maps.

    Args:
        maps: of the photo, None without one.
        size: width and height of the photo.
    """
    if maps is None:
        return Seeds((), None, "this photo has no map; draw the boxes by hand")
    method = SEED_METHOD if SEED_METHOD in maps.maps else maps.method
    return Seeds(find_hot_regions(maps.maps[method], maps.box, size), method, warn_of_method(method))


def warn_of_method(method: str) -> str | None:
    """Return a warning for maps that don't fit defects closely, None for those of `SEED_METHOD`."""
    if method == SEED_METHOD:
        return None
    return f"boxes from {method} are rough; run with --method rollout,{SEED_METHOD} for better ones"
