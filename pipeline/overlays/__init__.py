"""Stage 4: a photo and its map -> an overlay and a thumbnail, drawn in threads beside the model."""
