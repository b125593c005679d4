"""Labelled photos: reading a data set from a folder or a CSV, and its splits."""
