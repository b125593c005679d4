"""Reviewing a results folder: the queue of photos, and the local page with its server."""
