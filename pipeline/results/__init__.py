"""Stage 5: predictions -> the table in a results folder; resume, run records, reading back, compaction."""
