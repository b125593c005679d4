"""The photos of `finetune` and `evaluate`, from any layout. Start at `read.py`."""
