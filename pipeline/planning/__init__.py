"""The plan of a run: which files have work left, found chunk by chunk."""
