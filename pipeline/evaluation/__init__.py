"""A classifier and labelled photos -> how good it is. Start at `evaluate.py`."""
