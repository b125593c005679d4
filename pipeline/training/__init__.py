"""Labelled photos -> a classifier. Start at `finetune.py`."""
