"""The threads of torch, beside other programs on the same cores."""

import os


def let_waiting_threads_sleep() -> None:
    """Make threads sleep while they wait for each other. Call this before the first import of torch.

    Spinning gains a tenth on an idle machine, and costs four fifths as soon as another program needs a core. OpenMP
    reads the variable once, when torch is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
