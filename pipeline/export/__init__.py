"""Exporting a reviewed results folder as a data set for other tools."""
