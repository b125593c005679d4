"""The measurements of `make bench`, one file per question."""
