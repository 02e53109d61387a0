"""Where kernels cannot run, one line says why and the torch twin does; a stand-in for a GPU shows what would run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from ctypes import c_int
from pathlib import Path
from typing import Any

import pytest
import torch

from worldstream.kernels import build
from worldstream.kernels.build import CompileError, Loader, Nvrtc, Unavailable, architecture_for
from worldstream.kernels.cubins import CubinCache
from worldstream.kernels.launch import Kernel, Launch
from worldstream.kernels.norm_modulate import norm_modulate


class StandInDevice:
    """Keeps what it is asked to do."""

    def __init__(
        self, capability: tuple[int, int] = (9, 0), driver: int = 13000, refuses: str = "", unlaunchable: str = ""
    ) -> None:
        self.name, self.capability, self.driver, self.refuses = "NVIDIA H100", capability, driver, refuses
        self.unlaunchable = unlaunchable
        self.loaded: list[bytes] = []
        self.launches: list[tuple[str, tuple[int, int], int, list[Any], int]] = []

    def load(self, cubin: bytes, entry: str) -> str:
        if entry == self.refuses:
            raise RuntimeError("CUDA_ERROR_NO_BINARY_FOR_GPU")
        self.loaded.append(cubin)
        return entry

    def launch(self, handle: str, launch: Launch, stream: int) -> None:
        if handle == self.unlaunchable:
            raise RuntimeError("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES")
        values = [argument.value for argument in launch.arguments]
        self.launches.append((handle, launch.grid, launch.block, values, stream))


class StandInCompiler:
    version = "13.0"

    def __call__(self, kernel: Kernel, architecture: str) -> bytes:
        if kernel.entry == "broken":
            raise CompileError('broken.cu(1): error: identifier "x" is undefined')
        return f"{kernel} {architecture}".encode()


def launch(entry: str) -> Launch:
    return Launch(Kernel("scheduler_step", entry, ()), (5, 2), 128, (c_int(7),))


def loader(device: StandInDevice, folder: Path) -> Loader:
    return Loader(device, StandInCompiler(), CubinCache(folder))


def test_a_launch_goes_out_as_it_was_planned(tmp_path: Path) -> None:
    device = StandInDevice()
    kernels = loader(device, tmp_path)
    for _ in range(2):
        assert kernels.run([launch("first"), launch("second")], stream=99)
    assert device.launches == [("first", (5, 2), 128, [7], 99), ("second", (5, 2), 128, [7], 99)] * 2
    assert device.loaded == [b"first() 90a", b"second() 90a"], "compiled and loaded once"
    assert str(kernels) == "CUDA on NVIDIA H100, sm_90a, NVRTC 13.0"


@pytest.mark.parametrize(
    ("capability", "architecture"),
    [((8, 0), "80"), ((8, 6), "80"), ((8, 9), "89"), ((9, 0), "90a"), ((10, 3), "100"), ((12, 1), "120")],
)
def test_devices_run_the_cubins_of_their_family(capability: tuple[int, int], architecture: str) -> None:
    assert architecture_for(capability) == architecture
    assert architecture in build.ARCHITECTURES


@pytest.mark.parametrize(
    ("device", "why"),
    [
        (StandInDevice(capability=(7, 5)), "compute capability 7.5 is not among"),
        (StandInDevice(capability=(13, 0)), "compute capability 13.0 is not among"),
        (StandInDevice(driver=12080), "old driver: it is for CUDA 12.8, the kernels are compiled by 13.0"),
    ],
    ids=["old GPU", "new GPU", "old driver"],
)
def test_a_device_that_cannot(device: StandInDevice, why: str, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=why):
        loader(device, tmp_path)


@pytest.mark.parametrize(
    ("device", "entry", "why"),
    [
        (StandInDevice(), "broken", 'broken.cu(1): error: identifier "x" is undefined'),
        (StandInDevice(refuses="step"), "step", "CUDA_ERROR_NO_BINARY_FOR_GPU"),
        (StandInDevice(unlaunchable="big"), "big", "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"),
    ],
    ids=["does not compile", "does not load", "does not launch"],
)
def test_one_kernel_that_fails_leaves_the_others(
    device: StandInDevice, entry: str, why: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kernels = loader(device, tmp_path)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert not kernels.run([launch(entry)], 0)
    assert device.launches == []
    assert kernels.run([launch("fine")], 0)
    assert not kernels.run([launch("together"), launch(entry)], 0)
    assert [record.getMessage() for record in caplog.records][:1] == [f"kernel {entry}(): torch instead ({why})"]
    assert f"{entry}() in torch ({why})" in str(kernels)


def test_the_first_line_of_the_compiler_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By NVRTC itself, which is on every machine that runs the tests."""
    monkeypatch.setattr("worldstream.kernels.launch.SOURCES", tmp_path)
    (tmp_path / "broken.cu").write_text('extern "C" __global__ void broken() {\n    y = undefined_thing;\n}')
    with pytest.raises(CompileError, match=r"^broken\.cu\(2\): error: .*$"):
        Nvrtc()(Kernel("broken", "broken", ()), "90a")
    with pytest.raises(CompileError, match=r"absent\.cu: No such file"):
        Nvrtc()(Kernel("absent", "absent", ()), "90a")
    with pytest.raises(CompileError):
        Nvrtc()(Kernel("broken", "broken", ()), "17")


def test_status_is_one_line_that_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    build.loader.cache_clear()
    monkeypatch.setattr(build, "CudaDevice", no_driver)
    assert build.status() == "kernels: torch (no NVIDIA device (no driver))"
    build.loader.cache_clear()


def no_driver(index: int) -> None:
    raise Unavailable("no NVIDIA device (no driver)")


def test_this_machine_has_a_status() -> None:
    line = build.status()
    assert line.startswith(("kernels: torch (", "kernels: CUDA on "))
    assert "\n" not in line


@pytest.mark.parametrize("why", ["no device", "no NVRTC", "shapes"])
def test_operators_fall_back_with_one_line(
    why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What a wrapper asks on a GPU, asked here: False, and one line however often."""
    build._say.cache_clear()

    def unfit() -> Launch:
        raise ValueError("rows of 12 values are not whole pieces of eight")

    answers: dict[str, Any] = {
        "no device": "no device is here", "no NVRTC": "no NVRTC (not installed)",
        "shapes": loader(StandInDevice(), tmp_path),
    }  # fmt: skip
    monkeypatch.setattr(build, "loader", lambda index: answers[why])
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert not build.launched(unfit, torch.device("cuda", 0))
    assert len(caplog.records) == 1
    assert ("whole pieces" if why == "shapes" else why) in caplog.text
    build._say.cache_clear()


def test_on_a_cpu_the_twin_runs_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    x, part = torch.randn(1, 6, 12), torch.zeros(1, 2, 12)  # a width that no kernel takes
    out = norm_modulate(x, part, part, eps=1e-6)
    assert torch.allclose(out, torch.nn.functional.layer_norm(x, (12,), eps=1e-6))
    assert caplog.records == []


def test_planning_refuses_what_a_kernel_would_read_wrongly() -> None:
    from worldstream.kernels import norm_modulate as module

    x, out = torch.randn(1, 8, 64).bfloat16(), torch.empty(1, 8, 64).bfloat16()
    part = torch.zeros(1, 2, 64)

    def planned(width: int) -> Launch:
        x, part = torch.zeros(1, 2, width).bfloat16(), torch.zeros(1, 1, width)
        return module.plan(x, part, part, 1e-6, torch.zeros_like(x))

    module.plan(x, part, part, 1e-6, out)
    planned(24_576)
    wrongs: tuple[Callable[[], Launch], ...] = (
        lambda: module.plan(x.float(), part, part, 1e-6, out),
        lambda: module.plan(x, part.bfloat16(), part, 1e-6, out),
        lambda: module.plan(x, torch.zeros(1, 3, 64), torch.zeros(1, 3, 64), 1e-6, out),
        lambda: module.plan(x, torch.zeros(1, 2, 66)[..., 1:65], part, 1e-6, out),
        lambda: planned(60),  # rows that do not begin at 16 bytes
        lambda: planned(24_584),  # more than a block holds
        lambda: module.plan(x, part, part, 1e-6, out[:, :4]),
        lambda: module.plan(x.transpose(1, 2).contiguous().transpose(1, 2), part, part, 1e-6, out),
    )
    for wrong in wrongs:
        with pytest.raises(ValueError, match="must"):
            wrong()
