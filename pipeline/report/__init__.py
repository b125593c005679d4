"""The report: one page that opens from the disk, with everything that a run found."""
