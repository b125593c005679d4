"""Labelled photos -> a classifier. Start at `finetune.py`; the training loop is in `loop.py`."""
