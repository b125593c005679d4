"""Which device and which precision a run uses.

torch takes seconds to import, which a run with nothing to do can't afford; so it is asked only where there may be
an accelerator.
"""

import sys
from pathlib import Path
from typing import Literal, cast

from pipeline.errors import ConfigError

Precision = Literal["fp32", "bf16", "fp16"]

_ACCELERATORS = ("nvidia*", "nvhost*", "kfd", "dxg")  # in /dev: CUDA, Jetson, ROCm, WSL
_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def choose_device(name: str) -> str:
    """`auto` is CUDA, then MPS, then the CPU; a name is checked.

    Returns:
        A device as torch names it.

    Raises:
        ConfigError: the device named is not on this machine.
    """
    if name == "cpu" or (name == "auto" and not _may_have_accelerator()):
        return "cpu"
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    missing = ConfigError(f"device = {name}: not on this machine; use auto or cpu")
    try:
        device = torch.device(name)
    except RuntimeError:  # cuda:99999999999
        raise missing from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise missing
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise missing
    return name


def choose_precision(name: str, device: str) -> Precision:
    """`auto` is the fastest that keeps the numbers: bf16 where the chip has it, else fp16, on a CPU fp32.

    Raises:
        ConfigError: fp16 on a CPU, which would emulate it.
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
    """Whether the processor multiplies bfloat16 natively; emulated, it is slower than float32."""
    return bool(_BF16_FLAGS & _cpu_flags())


def _cpu_flags() -> set[str]:
    try:
        return set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:  # not Linux
        import torch

        return {name for name, there in torch.cpu.get_capabilities().items() if there is True}


def _may_have_accelerator() -> bool:
    return sys.platform != "linux" or any(any(Path("/dev").glob(pattern)) for pattern in _ACCELERATORS)
