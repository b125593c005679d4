"""The number of cores for this process: those of its affinity, or fewer under the CPU quota of a container."""

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_PROCESS = Path("/proc/self")


def available_cores() -> int:
    """Count the cores allowed to this process, at least 1; a share of a core counts as a whole one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(_PROCESS)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def cpu_quota(process: Path) -> float | None:
    """Return the smallest CPU quota of a process's control groups, in cores; None without one.

    A group may use no more than the groups around it, so all of them are asked, in cgroup v1 and v2.

    Args:
        process: its folder in /proc.
    """
    try:
        groups = (process / "cgroup").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        mounts = (process / "mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:  # not Linux
        return None
    quotas = (_read_quota(folder) for folder in _find_cpu_groups(groups, mounts))
    return min((quota for quota in quotas if quota is not None), default=None)


def _find_cpu_groups(groups: list[str], mounts: list[str]) -> Iterator[Path]:
    """Yield the folders of the groups with a CPU controller, each followed by the groups around it.

    Args:
        groups: lines of /proc/self/cgroup, `id:controllers:path`; v2 names no controllers.
        mounts: lines of /proc/self/mountinfo.
    """
    group_paths: dict[str, PurePosixPath] = {}  # by type of file system
    for _, controllers, path in (line.split(":", 2) for line in groups if line.count(":") >= 2):
        if not controllers or "cpu" in controllers.split(","):
            group_paths["cgroup" if controllers else "cgroup2"] = PurePosixPath(path)
    for line in mounts:
        place, _, source = line.partition(" - ")
        root, mount_point = (_unescape_octal(text) for text in place.split(" ")[3:5])
        kind, options = source.split(" ")[0], source.split(" ")[-1].split(",")
        if kind not in group_paths or (kind == "cgroup" and "cpu" not in options):
            continue
        group, inside = group_paths[kind], PurePosixPath()
        # a container often sees its own group as the root of the mount, and other groups not at all
        if group.is_relative_to(root) and ".." not in group.parts:
            inside = group.relative_to(root)
        yield from (Path(mount_point, part) for part in (inside, *inside.parents))


def _read_quota(group: Path) -> float | None:
    """Return the quota of one group in cores; None without one."""
    try:
        if (group / "cpu.max").exists():  # v2
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota, period = (
                (group / f"cpu.cfs_{name}_us").read_text(encoding="ascii").strip() for name in ("quota", "period")
            )
        cores = int(quota) / int(period)  # v2 says `max`, v1 says -1
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return cores if cores > 0 else None


def _unescape_octal(text: str) -> str:
    r"""Decode the blanks of mountinfo, written as `\040`."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
