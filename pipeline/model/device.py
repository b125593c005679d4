"""The choice of device and precision.

torch takes seconds to import, too long for a run with nothing to do. So it is asked only on machines with a possible
accelerator.
"""

import sys
from pathlib import Path
from typing import Literal, cast

from pipeline.cores import available_cores
from pipeline.errors import ConfigError

Precision = Literal["fp32", "bf16", "fp16"]

_ACCELERATORS = ("nvidia*", "nvhost*", "kfd", "dxg")  # in /dev: CUDA, Jetson, ROCm, WSL
_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def choose_device(name: str) -> str:
    """Choose CUDA, then MPS, then the CPU for `auto`; check any other name.

    Returns:
        A device as torch names it.

    Raises:
        ConfigError: this machine has no such device.
    """
    if name == "cpu" or (name == "auto" and not _may_have_accelerator()):
        return "cpu"
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    not_here = ConfigError(f"device = {name}: not on this machine; use auto or cpu")
    try:
        device = torch.device(name)
    except RuntimeError:  # cuda:99999999999
        raise not_here from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise not_here
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise not_here
    return name


def choose_precision(name: str, device: str) -> Precision:
    """Choose the precision for `auto`: bf16 on chips with native support, otherwise fp16, or fp32 on a CPU.

    Raises:
        ConfigError: fp16 on a CPU, with slow emulation only.
    """
    if name == "fp16" and device == "cpu":
        raise ConfigError("precision = fp16: CPUs have no fast fp16; use auto, bf16 or fp32")
    if name != "auto":
        return cast(Precision, name)
    if device.startswith("cuda"):
        import torch

        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device == "mps":
        return "fp16"
    return "bf16" if cpu_has_bf16() else "fp32"


def cpu_has_bf16() -> bool:
    """Tell whether the processor multiplies bfloat16 natively; emulated, it is slower than float32."""
    return bool(_BF16_FLAGS & _cpu_flags())


def limit_torch_threads() -> None:
    """Lower the number of torch's threads to the cores of this process: torch knows of no container's quota.

    More threads than the quota use it up early in each period of the scheduler, and then all of them wait.
    """
    import torch

    if available_cores() < torch.get_num_threads():
        torch.set_num_threads(available_cores())


def _cpu_flags() -> set[str]:
    try:
        return set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:  # not Linux
        import torch

        return {name for name, available in torch.cpu.get_capabilities().items() if available is True}


def _may_have_accelerator() -> bool:
    return sys.platform != "linux" or any(any(Path("/dev").glob(pattern)) for pattern in _ACCELERATORS)
