"""Limits of the decoder, for settings: importing the decoder itself takes a third of a second."""

MAX_PIXELS = 178_000_000
DECODE_SECONDS = 60  # for one photo, by default
