"""Which edition of TensorRT is used where, and the one line where none is."""

from __future__ import annotations

import builtins
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from worldstream.worlds import tensorrt_edition as editions
from worldstream.worlds.tensorrt_edition import Edition, cannot_run, find


def machine(monkeypatch: pytest.MonkeyPatch, gpu: str | None, *here: str) -> None:
    """A machine with this compute capability and these packages."""
    api = dict.fromkeys(("Builder", *editions.NEEDED))
    made = {name: SimpleNamespace(__version__="9.9", **api) for name in here}
    real: Callable[..., Any] = builtins.__import__

    def imported(name: str, *rest: Any, **more: Any) -> Any:
        if name in ("tensorrt", "tensorrt_rtx"):
            if name not in made:
                raise ImportError(f"No module named {name!r}\nand a second line")
            return made[name]
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", imported)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu is not None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: f"GPU {gpu}")
    if gpu is not None:
        numbers = tuple(int(part) for part in gpu.split("."))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: numbers)


@pytest.mark.parametrize(
    ("gpu", "here", "wanted"),
    [
        ("9.0", ("tensorrt", "tensorrt_rtx"), "TensorRT"),
        ("8.9", ("tensorrt", "tensorrt_rtx"), "TensorRT-RTX"),
        (None, ("tensorrt", "tensorrt_rtx"), "TensorRT-RTX"),
        ("8.9", ("tensorrt",), "TensorRT"),
        ("12.0", ("tensorrt_rtx",), "TensorRT-RTX"),
    ],
)
def test_edition_for_a_machine(
    monkeypatch: pytest.MonkeyPatch, gpu: str | None, here: tuple[str, ...], wanted: str
) -> None:
    machine(monkeypatch, gpu, *here)
    found = find()
    assert isinstance(found, Edition)
    assert str(found) == f"{wanted} 9.9"
    assert (cannot_run(found) is None) == (gpu is not None)
    if gpu is not None:
        assert found.builds_for(gpu)
    assert found.builds_for("8.6") == found.rtx
    assert not found.builds_for("7.0")


def test_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, "9.0")
    found = find()
    assert isinstance(found, str)
    assert "\n" not in found
    assert "No module named 'tensorrt'" in found
    assert cannot_run(found) == found


def test_no_gpu_and_a_gpu_that_rtx_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, None, "tensorrt_rtx")
    assert cannot_run(find()) == "TensorRT-RTX 9.9 is here, but no GPU that torch can use"
    machine(monkeypatch, "9.0", "tensorrt_rtx")
    assert cannot_run(find()) == "TensorRT-RTX 9.9 does not run on GPU 9.0 (compute capability 9.0)"


@pytest.mark.parametrize(
    ("stub", "why"),
    [
        (SimpleNamespace(), "without its libraries"),
        (SimpleNamespace(__version__="10.7", Builder=object), "TensorRT 10.7 is too old: it has no KVCacheMode"),
    ],
)
def test_a_stub_or_an_old_package_is_no_edition(
    monkeypatch: pytest.MonkeyPatch, stub: SimpleNamespace, why: str
) -> None:
    machine(monkeypatch, "9.0", "tensorrt")
    real = builtins.__import__

    def imported(name: str, *rest: Any, **more: Any) -> Any:
        return stub if name == "tensorrt" else real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", imported)
    found = find()
    assert isinstance(found, str)
    assert why in found


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU, and what it does is another test's")
def test_a_process_without_gpu_ends_well() -> None:
    """In a process of its own: some editions end one at exit when a runtime was made without a GPU."""
    source = """
from worldstream.worlds.tensorrt_edition import Edition, find
from worldstream.worlds.wan.tensorrt_run import CannotRun, TensorRTRun
edition = find()
if isinstance(edition, Edition):
    try:
        TensorRTRun(edition, b"no engine")
    except CannotRun as error:
        print("refused:", error)
else:
    print("refused:", edition)
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout[:8]) == (0, "refused:")
    assert len(done.stdout.splitlines()) == 1


def test_names_of_capabilities() -> None:
    rtx = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX has no wheel for this machine")
    known = {name for name in rtx.ComputeCapability.__members__ if name.startswith("SM")}
    assert set(editions.AHEAD.values()) == known


def test_the_installed_rtx_edition_has_no_plugins() -> None:
    """What docs/tensorrt.md says is why our kernels are no plugins. Should this fail, an edition has brought them."""
    rtx = pytest.importorskip("tensorrt_rtx")
    with pytest.raises(ModuleNotFoundError, match=r"tensorrt_rtx_bindings\.plugin"):
        __import__("tensorrt_rtx.plugin")
    assert hasattr(rtx, "IPluginV3QuickBuild")
    assert not any("AOT" in name for name in dir(rtx) if "Plugin" in name)
