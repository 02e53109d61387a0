"""Kernels from source to a running launch: compiled by NVRTC through cuda-python, kept on disk, launched by the driver.

Only cubins are made, never PTX: a driver older than the compiler refuses newer PTX, but loads the cubins of its own
major version. Compiling needs no driver and no GPU. Where anything is missing, `launched` says so in one line and the
torch twin runs.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any, Protocol

import torch

from .cubins import CubinCache, cache_key, default_folder
from .headers import NoHeadersError, header_folders, headers_hash, own_headers
from .launch import SOURCES, Kernel, Launch

log = logging.getLogger(__name__)

ARCHITECTURES = ("80", "89", "90a", "100", "120")
"""What is compiled for: A100, L4 and RTX 40, H100 and H200, B200, RTX 50."""
# compute capability -> the architecture whose cubins it runs. Those without an `a` also run on later minors.
RUNS = {
    (8, 0): "80", (8, 6): "80", (8, 7): "80", (8, 9): "89", (9, 0): "90a", (10, 0): "100", (10, 3): "100",
    (12, 0): "120", (12, 1): "120",
}  # fmt: skip


class CompileError(RuntimeError):
    """NVRTC refused a source; the message is its first line."""


class Unavailable(RuntimeError):
    """Kernels cannot run here; the message says why."""


class Compiler(Protocol):
    """Makes cubins."""

    version: str

    def __call__(self, kernel: Kernel, architecture: str) -> bytes:
        """Raises CompileError, or Unavailable where it lacks something that is no fault of the source."""
        ...


class Device(Protocol):
    """One GPU, or what stands in for it in tests."""

    name: str
    capability: tuple[int, int]
    driver: int  # 13000: CUDA 13.0

    def load(self, cubin: bytes, entry: str) -> Any:
        """A handle for `launch`. Raises RuntimeError."""
        ...

    def launch(self, handle: Any, launch: Launch, stream: int) -> None:
        """Enqueue on a stream. Raises RuntimeError."""
        ...


class Nvrtc:
    """The compiler. Raises Unavailable where cuda-python or NVRTC is not installed."""

    def __init__(self) -> None:
        try:
            from cuda.bindings import nvrtc  # pyright: ignore[reportAttributeAccessIssue]  it has no stubs

            error, major, minor = nvrtc.nvrtcVersion()
        except Exception as why:  # an absent wheel and an absent library raise different things in every version
            raise Unavailable(f"no NVRTC ({_line(why)})") from None
        self._nvrtc = nvrtc
        self._check(error)
        self.version = f"{major}.{minor}"

    def __call__(self, kernel: Kernel, architecture: str) -> bytes:
        try:
            folders = header_folders()
        except NoHeadersError as missing:
            raise Unavailable(str(missing)) from None
        try:
            source = kernel.path.read_bytes()
        except OSError as missing:
            raise CompileError(f"{kernel.path.name}: {missing.strerror}") from None
        n = self._nvrtc
        error, program = n.nvrtcCreateProgram(source, kernel.path.name.encode(), 0, [], [])
        self._check(error)
        try:
            options = [option.encode() for option in _options(kernel, architecture)]
            options += [f"-I{folder}".encode() for folder in (SOURCES, *folders)]
            (error,) = n.nvrtcCompileProgram(program, len(options), options)
            if error != n.nvrtcResult.NVRTC_SUCCESS:
                raise CompileError(self._first_line(program) or str(error))
            size = self._checked(n.nvrtcGetCUBINSize(program))
            cubin = bytes(size)
            self._check(n.nvrtcGetCUBIN(program, cubin)[0])
            return cubin
        finally:
            n.nvrtcDestroyProgram(program)

    def _first_line(self, program: Any) -> str:
        text = bytes(self._checked(self._nvrtc.nvrtcGetProgramLogSize(program)))
        self._check(self._nvrtc.nvrtcGetProgramLog(program, text)[0])
        lines = text.rstrip(b"\0").decode(errors="replace").splitlines()
        return next((line for line in lines if "error" in line), lines[0] if lines else "")

    def _check(self, error: Any) -> None:
        if error != self._nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise Unavailable(f"NVRTC: {error}")

    def _checked(self, result: tuple[Any, int]) -> int:
        self._check(result[0])
        return result[1]


class CudaDevice:
    """A GPU through the driver, in torch's own context. Raises Unavailable without driver or device."""

    def __init__(self, index: int) -> None:
        try:
            from cuda.bindings import driver  # pyright: ignore[reportAttributeAccessIssue]
        except Exception as error:  # see Nvrtc
            raise Unavailable(f"no cuda-python ({_line(error)})") from None
        self._driver = driver
        try:
            self._call(driver.cuInit, 0)
            self.driver = int(self._call(driver.cuDriverGetVersion))
            device = self._call(driver.cuDeviceGet, index)
            self.name = self._call(driver.cuDeviceGetName, 128, device).split(b"\0")[0].decode()
            attribute = driver.CUdevice_attribute
            major, minor = (
                int(self._call(driver.cuDeviceGetAttribute, which, device))
                for which in (
                    attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                    attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                )
            )
            self._context = self._call(driver.cuDevicePrimaryCtxRetain, device)  # the one that torch uses
        except RuntimeError as error:
            absent = "DynamicLibNotFound" in type(error).__name__  # libcuda, which comes with the driver
            raise Unavailable("no NVIDIA driver" if absent else f"no NVIDIA device ({_line(error)})") from None
        self.capability = (major, minor)

    def load(self, cubin: bytes, entry: str) -> Any:
        self._call(self._driver.cuCtxSetCurrent, self._context)
        module = self._call(self._driver.cuModuleLoadData, cubin)
        return self._call(self._driver.cuModuleGetFunction, module, entry.encode())

    def launch(self, handle: Any, launch: Launch, stream: int) -> None:
        self._call(self._driver.cuCtxSetCurrent, self._context)
        arguments = launch.addresses()
        shape = (*launch.grid, 1, launch.block, 1, 1)
        self._call(self._driver.cuLaunchKernel, handle, *shape, 0, stream, ctypes.addressof(arguments), 0)

    def _call(self, function: Callable[..., tuple[Any, ...]], *arguments: Any) -> Any:
        error, *rest = function(*arguments)
        if error != self._driver.CUresult.CUDA_SUCCESS:
            raise RuntimeError(f"{getattr(function, '__name__', 'driver')}: {getattr(error, 'name', error)}")
        return rest[0] if rest else None


def _options(kernel: Kernel, architecture: str) -> tuple[str, ...]:
    """What decides about the code, without the folders of headers, whose contents are hashed instead."""
    defines = (f"-D{name}={value}" for name, value in kernel.defines)
    return (f"--gpu-architecture=sm_{architecture}", "-std=c++17", "--fmad=true", "--ftz=true", *defines)


def compiled(kernel: Kernel, architecture: str, compiler: Compiler, cache: CubinCache) -> bytes:
    """The cubin from the cache, or made now and kept. Raises CompileError or Unavailable."""
    try:
        parts = (kernel.path.read_text(), *own_headers(), headers_hash(), kernel.entry, compiler.version)
    except OSError as missing:
        raise CompileError(f"{kernel.path.name}: {missing.strerror}") from None
    except NoHeadersError as missing:
        raise Unavailable(str(missing)) from None
    key = cache_key(*parts, *_options(kernel, architecture))
    kept = cache.read(key)
    if kept is not None:
        return kept
    cubin = compiler(kernel, architecture)
    cache.write(key, cubin)
    return cubin


def architecture_for(capability: tuple[int, int]) -> str:
    """Raises Unavailable for a GPU that nothing is compiled for."""
    if capability not in RUNS:
        known = ", ".join(f"{major}.{minor}" for major, minor in RUNS)
        raise Unavailable(f"compute capability {capability[0]}.{capability[1]} is not among {known}")
    return RUNS[capability]


class Loader:
    """The kernels of one device: compiled when first asked for, then kept loaded."""

    def __init__(self, device: Device, compiler: Compiler, cache: CubinCache) -> None:
        """Raises Unavailable where the device cannot run what the compiler makes."""
        self.architecture = architecture_for(device.capability)
        if device.driver // 1000 < int(compiler.version.split(".")[0]):
            has = f"{device.driver // 1000}.{device.driver % 1000 // 10}"
            raise Unavailable(f"old driver: it is for CUDA {has}, the kernels are compiled by {compiler.version}")
        self.failed: dict[Kernel, str] = {}  # why the twin runs instead
        self._device, self._compiler, self._cache = device, compiler, cache
        self._handles: dict[Kernel, Any] = {}

    def __str__(self) -> str:
        failed = "".join(f"; {kernel} in torch ({why})" for kernel, why in self.failed.items())
        return f"CUDA on {self._device.name}, sm_{self.architecture}, NVRTC {self._compiler.version}{failed}"

    def run(self, launches: Sequence[Launch], stream: int) -> bool:
        """Enqueue all of them in order; False where one cannot be compiled, loaded or launched. What launches before it
        have written, the twin writes again."""
        launch = launches[0]
        try:
            for launch in launches:
                self._ready(launch.kernel)
            for launch in launches:
                handle = self._handles[launch.kernel]
                self._device.launch(handle, launch, stream)
        except RuntimeError as error:
            self._fail(launch.kernel, _line(error))
            return False
        return True

    def _ready(self, kernel: Kernel) -> None:
        if kernel in self.failed:
            raise CompileError(self.failed[kernel])
        if kernel not in self._handles:
            cubin = compiled(kernel, self.architecture, self._compiler, self._cache)
            self._handles[kernel] = self._device.load(cubin, kernel.entry)

    def _fail(self, kernel: Kernel, why: str) -> None:
        if kernel not in self.failed:
            self.failed[kernel] = why
            log.warning("kernel %s: torch instead (%s)", kernel, why)


@cache
def loader(index: int = 0) -> Loader | str:
    """The kernels of GPU `index`, or in one line why there are none."""
    try:
        return Loader(CudaDevice(index), Nvrtc(), CubinCache(default_folder()))
    except Unavailable as why:
        return str(why)


def launched(plan: Callable[[], Launch | tuple[Launch, ...]], device: torch.device) -> bool:
    """Enqueue what `plan` gives on the device's current stream; False, with one line in the log, where the twin has to
    run: no kernels for this device, or ValueError from `plan`, for tensors that the kernel is not made for."""
    kernels = loader(device.index or 0)
    if isinstance(kernels, str):
        _say(f"kernels: torch instead ({kernels})")
        return False
    try:
        planned = plan()
    except ValueError as error:
        _say(f"kernels: torch instead ({_line(error)})")
        return False
    launches = planned if isinstance(planned, tuple) else (planned,)
    return kernels.run(launches, torch.cuda.current_stream(device).cuda_stream)


def status(index: int = 0) -> str:
    """One line: what runs the operators on GPU `index`, and why where it is not the kernels."""
    kernels = loader(index)
    return f"kernels: torch ({kernels})" if isinstance(kernels, str) else f"kernels: {kernels}"


@lru_cache(maxsize=256)
def _say(line: str) -> None:
    """Once for each line."""
    log.warning("%s", line)


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
