"""Small disks, to be filled up and made read-only."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disks() -> Iterator[Callable[[Path, str], Callable[[str], None]]]:
    """Yield a function to mount a tmpfs on a folder; it returns a function to remount it. Unmount all at the end.

    Skips the test without the rights of root.
    """
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk to fill")
    mounted = []

    def call_mount(*words):
        subprocess.run(["mount", *map(str, words)], check=True, capture_output=True)

    def mount_disk(folder, size):
        folder.mkdir(parents=True, exist_ok=True)
        call_mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
        mounted.append(folder)

        def remount(options):
            call_mount("-o", f"remount,{options}", folder)

        return remount

    try:
        yield mount_disk
    finally:
        for folder in reversed(mounted):
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
