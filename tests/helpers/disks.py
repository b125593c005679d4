"""Small disks, to be filled up and made read-only."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disks() -> Iterator[Callable[[Path, str], Callable[[str], None]]]:
    """Give a function that mounts a tmpfs on a folder and returns one that remounts it; unmount all at the end.

    Skips the test where it does not run as root.
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
