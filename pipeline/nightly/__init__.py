"""Several archives in one go, for a scheduler. Start at `archives.py`."""
