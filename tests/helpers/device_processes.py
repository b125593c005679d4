"""The processes of the devices of a run."""

from pathlib import Path


def device_processes_of(pid: int) -> list[int]:
    """List the device processes of a coordinator: its children that run Python's spawn."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
