"""Which device and which precision a run uses."""

from typing import Literal, cast

import torch

from pipeline.errors import ConfigError

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA, then MPS, then the CPU; a name is checked.

    Raises:
        ConfigError: the device named is not on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    missing = ConfigError(f"device = {name}: not on this machine; use auto or cpu")
    try:
        device = torch.device(name)
    except RuntimeError:  # cuda:99999999999
        raise missing from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise missing
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise missing
    return device


def choose_precision(name: str, device: torch.device) -> Precision:
    """`auto` is the fastest that keeps the numbers: bf16 where the chip has it, else fp16, on a CPU fp32.

    Raises:
        ConfigError: fp16 on a CPU, which would emulate it.
    """
    if name == "fp16" and device.type == "cpu":
        raise ConfigError("precision = fp16: CPUs have no fast fp16; use auto, bf16 or fp32")
    if name != "auto":
        return cast(Precision, name)
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type == "mps":
        return "fp16"
    return "bf16" if cpu_has_bf16() else "fp32"


def cpu_has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 natively; emulated, it is slower than float32."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
