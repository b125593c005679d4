"""Data sets for the bundled model and for published comparisons."""
