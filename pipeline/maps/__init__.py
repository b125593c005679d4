"""Stage 3: captured attention and gradients -> one map per image. Start at `methods.py`, the table of methods."""
