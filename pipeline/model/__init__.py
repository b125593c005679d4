"""Stage 2: a checkpoint -> a classifier on a device; batches of pixels -> predictions."""
