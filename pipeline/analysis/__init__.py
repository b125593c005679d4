"""Analysis of a table: its maps, and the embeddings of its photos."""

from pipeline.analysis.embeddings import near_duplicates, nearest_photos
from pipeline.analysis.maps import hot_boxes, map_statistics, mean_maps, nearest_maps, stack_attention

__all__ = [
    "hot_boxes",
    "map_statistics",
    "mean_maps",
    "near_duplicates",
    "nearest_maps",
    "nearest_photos",
    "stack_attention",
]
