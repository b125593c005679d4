"""What every call costs before it does anything, and whether memory grows with the photos."""

import subprocess
import sys
from pathlib import Path

from jobs.benchmarks.materials import TINY, save_checkpoint, save_photos
from jobs.benchmarks.timing import Figure, in_turn

_FEW, _MANY = 1_000, 50_000


def measure(folder: Path, rounds: int) -> list[Figure]:
    """`--help`, a run with nothing to do, and the peak memory of a long run over that of a short one."""
    model = save_checkpoint(TINY, folder / "tiny")
    few, many = (_linked_photos(folder / f"photos-{count}", count) for count in (_FEW, _MANY))
    memory = {count: _run(photos, folder / f"out-{count}", model) for count, photos in ((_FEW, few), (_MANY, many))}
    again = [
        sys.executable,
        "-m",
        "jobs.cli",
        "run",
        str(few),
        "--out",
        str(folder / f"out-{_FEW}"),
        "--model",
        str(model),
    ]
    timings = in_turn(
        {
            "help": lambda: subprocess.run(
                [sys.executable, "-m", "jobs.cli", "--help"], check=True, capture_output=True
            ),
            "nothing to do": lambda: subprocess.run(again, check=True, capture_output=True),
        },
        2 * rounds,
    )
    return [
        Figure("`vitrollout --help`", timings.median("help"), 0.3, "s"),
        Figure("a run with nothing to do, 1,000 files", timings.median("nothing to do"), 1.5, "s"),
        Figure(
            f"peak RSS over {_MANY:,} images / over {_FEW:,}, tiny model", memory[_MANY] / memory[_FEW], 1.1,
            detail=f"{memory[_FEW]:,.0f} MB and {memory[_MANY]:,.0f} MB",
        ),
    ]  # fmt: skip


def _linked_photos(folder: Path, count: int) -> Path:
    save_photos(folder, 1, (300, 300), ".png")
    first = next(folder.iterdir())
    for number in range(1, count):
        link = folder / f"photo-{number:05}.png"
        if not link.exists():
            link.hardlink_to(first)
    return folder


def _run(photos: Path, out: Path, model: Path) -> float:
    """MB that a run of its own process, without its workers, had resident at most.

    By Linux's VmHWM: the `ru_maxrss` of a process begins with what its parent has.
    """
    script = (
        "import re, sys, pipeline\n"
        "pipeline.run(pipeline.RunConfig(input=sys.argv[1], out=sys.argv[2], model=sys.argv[3], overlay_size=64))\n"
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) * 1.024 / 1000)"
    )
    arguments = [sys.executable, "-c", script, str(photos), str(out), str(model)]
    return float(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.split()[-1])
