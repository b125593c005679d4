"""The report: one page with everything a run found; opens from the disk."""
