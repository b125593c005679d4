"""The fixed cost of every call, and the growth of memory with the number of photos."""

import subprocess
import sys
from pathlib import Path

from jobs.benchmarks.materials import TINY, save_checkpoint, save_linked_photos
from jobs.benchmarks.timing import Figure, time_in_turn

_FEW, _MANY = 1_000, 50_000


def measure(folder: Path, rounds: int) -> list[Figure]:
    """Measure `--help`, a run with nothing to do, and the peak memory of a long run over that of a short one."""
    model = save_checkpoint(TINY, folder)
    photos = {count: save_linked_photos(folder / f"photos-{count}", count) for count in (_FEW, _MANY)}
    outs = {count: folder / f"out-{count}" for count in (_FEW, _MANY)}
    memory = {count: _measure_peak_memory(photos[count], outs[count], model) for count in (_FEW, _MANY)}
    timings = time_in_turn(
        {
            "help": lambda: _call_command("--help"),
            "nothing to do": lambda: _call_command("run", photos[_FEW], "--out", outs[_FEW], "--model", model),
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


def _call_command(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "jobs.cli", *map(str, arguments)], check=True, capture_output=True)


def _measure_peak_memory(photos: Path, out: Path, model: Path) -> float:
    """Measure the peak resident memory of a run in a process of its own, without its workers, in MB.

    From Linux's VmHWM: the `ru_maxrss` of a process starts with its parent's memory.
    """
    script = (
        "import re, sys; from pipeline.config import RunConfig; from pipeline.run import run\n"
        "run(RunConfig(input=sys.argv[1], out=sys.argv[2], model=sys.argv[3], overlay_size=64))\n"
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) * 1.024 / 1000)"
    )
    arguments = [sys.executable, "-c", script, str(photos), str(out), str(model)]
    return float(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.split()[-1])
