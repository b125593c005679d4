"""Stage 1: a folder of photos -> upright pixels, decoded in expendable worker processes."""
