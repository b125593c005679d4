"""A classifier and photos -> how far each method's maps can be trusted. Start at `trust.py`."""
