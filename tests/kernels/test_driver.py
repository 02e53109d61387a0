"""What is asked of NVIDIA's driver, by a stand-in for its bindings: order, arguments, what every failure becomes."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from enum import Enum
from types import SimpleNamespace
from typing import Any

import pytest

from worldstream.kernels.build import CudaDevice, Unavailable
from worldstream.kernels.launch import Kernel, Launch


class Result(Enum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_NO_DEVICE = 100
    CUDA_ERROR_INVALID_IMAGE = 200


class StandInDriver(SimpleNamespace):
    """The functions that are used, by their documented signatures; `fails` names one that does not succeed."""

    CUresult = Result
    CUdevice_attribute = SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR=75, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR=76
    )

    def __init__(self, fails: str = "") -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.fails = fails
        self.seen: list[tuple[int, float]] = []
        answers: dict[str, Callable[..., tuple[Any, ...]]] = {
            "cuInit": lambda flags: (),
            "cuDriverGetVersion": lambda: (13010,),
            "cuDeviceGet": lambda index: (f"device {index}",),
            "cuDeviceGetName": lambda length, device: (b"NVIDIA H100\0".ljust(length),),  # as the binding pads it
            "cuDeviceGetAttribute": lambda which, device: ({75: 9, 76: 0}[which],),
            "cuDevicePrimaryCtxRetain": lambda device: ("context",),
            "cuCtxSetCurrent": lambda context: (),
            "cuModuleLoadData": lambda image: (("module", image),),
            "cuModuleGetFunction": lambda module, name: ((module, name),),
            "cuLaunchKernel": self._launch,
        }
        for name, answer in answers.items():
            setattr(self, name, self._called(name, answer))

    def _called(self, name: str, answer: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append((name, arguments))
            if name == self.fails:
                return (Result.CUDA_ERROR_NO_DEVICE, None)
            return (Result.CUDA_SUCCESS, *answer(*arguments))

        call.__name__ = name
        return call

    def _launch(self, *arguments: Any) -> tuple[()]:
        """Reads the arguments as the driver does: an array of their addresses."""
        first, second = (ctypes.c_uint64 * 2).from_address(arguments[9])
        self.seen.append((ctypes.c_longlong.from_address(first).value, ctypes.c_float.from_address(second).value))
        return ()


@pytest.fixture
def bindings(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], StandInDriver]:
    def install(fails: str = "") -> StandInDriver:
        stand_in = StandInDriver(fails)
        monkeypatch.setattr("cuda.bindings.driver", stand_in)
        return stand_in

    return install


def test_a_launch_reaches_the_driver(bindings: Callable[[str], StandInDriver]) -> None:
    driver = bindings("")
    device = CudaDevice(1)
    assert (device.name, device.capability, device.driver) == ("NVIDIA H100", (9, 0), 13010)
    assert ("cuDeviceGet", (1,)) in driver.calls
    driver.calls.clear()
    handle = device.load(b"cubin", "entry")
    assert handle == (("module", b"cubin"), b"entry")
    launch = Launch(Kernel("s", "entry", ()), (7, 3), 128, (ctypes.c_longlong(1 << 40), ctypes.c_float(0.5)))
    device.launch(handle, launch, 99)
    assert driver.seen == [(1 << 40, 0.5)]
    assert [name for name, _ in driver.calls] == [
        "cuCtxSetCurrent", "cuModuleLoadData", "cuModuleGetFunction", "cuCtxSetCurrent", "cuLaunchKernel",
    ]  # fmt: skip
    assert driver.calls[-1][1][:9] == (handle, 7, 3, 1, 128, 1, 1, 0, 99)


@pytest.mark.parametrize("fails", ["cuInit", "cuDeviceGet", "cuDriverGetVersion", "cuDevicePrimaryCtxRetain"])
def test_a_driver_that_refuses_is_no_device(fails: str, bindings: Callable[[str], StandInDriver]) -> None:
    bindings(fails)
    with pytest.raises(Unavailable, match=rf"no NVIDIA device \({fails}: CUDA_ERROR_NO_DEVICE\)"):
        CudaDevice(0)


@pytest.mark.parametrize("fails", ["cuModuleLoadData", "cuModuleGetFunction", "cuCtxSetCurrent"])
def test_a_cubin_that_does_not_load_is_an_error(fails: str, bindings: Callable[[str], StandInDriver]) -> None:
    driver = bindings("")
    device = CudaDevice(0)
    driver.fails = fails
    with pytest.raises(RuntimeError, match=f"{fails}: CUDA_ERROR"):
        device.load(b"cubin", "entry")
