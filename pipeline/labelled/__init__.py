"""Labelled photos: reading a data set from a folder or a CSV, its groups and its splits."""
