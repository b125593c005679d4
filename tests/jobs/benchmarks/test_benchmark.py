import os
import subprocess
import sys
from pathlib import Path


def test_gpu_figures_without_a_gpu():
    command = [sys.executable, "-m", "jobs.benchmarks.benchmark", "--only", "cuda"]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    root = Path(__file__).parents[3]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=root)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "benchmark: there is no CUDA device here; use `make bench`, for machines without one\n"
