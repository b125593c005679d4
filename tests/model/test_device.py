"""The choice of device and precision, on machines that these tests are not run on."""

import pytest
import torch

from pipeline.errors import ConfigError
from pipeline.model import device
from pipeline.model.device import choose_device, choose_precision, cpu_has_bf16

CPU, CUDA, MPS = "cpu", "cuda", "mps"


@pytest.fixture
def machine(monkeypatch):
    """Pretend to be a machine with so many CUDA devices, with or without MPS and bf16."""

    def pretend(*, cuda=0, mps=False, cuda_bf16=True, cpu=()):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True: cuda_bf16 or including_emulation
        )
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(device, "_may_have_accelerator", lambda: cuda > 0 or mps)
        monkeypatch.setattr(device, "_cpu_flags", lambda: {"avx2", *cpu})

    return pretend


def test_auto_is_cuda_then_mps_then_the_cpu(machine):
    machine(cuda=1, mps=True)
    assert choose_device("auto") == CUDA
    machine(mps=True)
    assert choose_device("auto") == MPS
    machine()
    assert choose_device("auto") == CPU


def test_a_device_that_is_there_is_taken(machine):
    machine(cuda=2, mps=True)
    assert choose_device("cuda:1") == "cuda:1"
    assert choose_device("cuda") == CUDA
    assert choose_device("mps") == MPS
    assert choose_device("cpu") == CPU


@pytest.mark.parametrize("name", ["cuda:2", "cuda:100", "cuda:99999999999999999999", "mps"])
def test_a_device_that_is_not_there_is_refused(machine, name):
    machine(cuda=2)
    with pytest.raises(ConfigError, match=f"device = {name}: not on this machine") as caught:
        choose_device(name)
    assert caught.value.exit_code == 2


def test_cuda_without_a_number_is_refused_where_there_is_none(machine):
    machine()
    with pytest.raises(ConfigError, match="use auto or cpu"):
        choose_device("cuda")


@pytest.mark.parametrize(
    ("device", "hardware", "expected"),
    [
        (CUDA, {"cuda": 1, "cuda_bf16": True}, "bf16"),
        (CUDA, {"cuda": 1, "cuda_bf16": False}, "fp16"),
        (MPS, {"mps": True}, "fp16"),
        (CPU, {}, "fp32"),
        (CPU, {"cpu": ["avx512_bf16"]}, "bf16"),
        (CPU, {"cpu": ["amx_bf16"]}, "bf16"),
    ],
)
def test_auto_precision_is_what_the_chip_does_natively(machine, device, hardware, expected):
    machine(**hardware)
    assert choose_precision("auto", device) == expected


def test_a_precision_asked_for_is_kept(machine):
    machine(cuda=1)
    assert [choose_precision(name, CUDA) for name in ("fp32", "bf16", "fp16")] == ["fp32", "bf16", "fp16"]
    assert [choose_precision(name, CPU) for name in ("fp32", "bf16")] == ["fp32", "bf16"]


def test_fp16_on_a_cpu_is_refused():
    with pytest.raises(ConfigError, match="fp16"):
        choose_precision("fp16", CPU)


def test_this_machine_can_be_asked():
    capabilities = torch.cpu.get_capabilities()
    assert cpu_has_bf16() == any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


def test_accelerators_are_looked_for_in_dev(monkeypatch, tmp_path):
    monkeypatch.setattr(device, "Path", lambda _: tmp_path)
    assert not device._may_have_accelerator()
    (tmp_path / "nvidia0").touch()
    assert device._may_have_accelerator()
