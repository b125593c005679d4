"""Stage 4: a map and its photo -> a picture."""
