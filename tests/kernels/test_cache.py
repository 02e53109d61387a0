"""Cubins on disk: what was tampered with, cut short, of another compiler or another place is compiled again."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from worldstream.kernels import build, headers
from worldstream.kernels.build import compiled
from worldstream.kernels.cubins import HASH, CubinCache, cache_key, default_folder
from worldstream.kernels.launch import Kernel

STEP = Kernel("scheduler_step", "scheduler_step", (("LATENT_BF16", 1), ("RENOISE", 1)))
LAST = Kernel("scheduler_step", "scheduler_step", (("LATENT_BF16", 1), ("RENOISE", 0)))


@dataclass
class CountingCompiler:
    """Compiles for real and counts."""

    version: str = "13.0"
    made: list[tuple[Kernel, str]] = field(default_factory=list)

    def __call__(self, kernel: Kernel, architecture: str) -> bytes:
        self.made.append((kernel, architecture))
        return b"\x7fELF " + f"{kernel} for {architecture} by {self.version}".encode()


@pytest.fixture
def cache(tmp_path: Path) -> CubinCache:
    return CubinCache(tmp_path / "deep" / "kernels")


def test_a_kernel_is_compiled_once(cache: CubinCache) -> None:
    compiler = CountingCompiler()
    first = compiled(STEP, "90a", compiler, cache)
    assert compiled(STEP, "90a", compiler, cache) == first
    assert len(compiler.made) == 1
    assert cache.folder.stat().st_mode & 0o077 == 0, "others may not write what we load"
    assert [path.suffix for path in cache.folder.iterdir()] == [".cubin"]


def test_whatever_goes_into_it_makes_another_cubin(cache: CubinCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Architecture, sizes, compiler, our headers, CUDA's headers."""
    compiler = CountingCompiler()
    compiled(STEP, "90a", compiler, cache)
    compiled(STEP, "120", compiler, cache)
    compiled(LAST, "90a", compiler, cache)
    compiled(STEP, "90a", newer := CountingCompiler("13.1"), cache)
    monkeypatch.setattr(build, "own_headers", lambda: ("// changed",))
    compiled(STEP, "90a", compiler, cache)
    monkeypatch.setattr(build, "headers_hash", lambda: "another")
    compiled(STEP, "90a", compiler, cache)
    assert (len(compiler.made), len(newer.made)) == (5, 1)


def test_a_changed_source_is_another_kernel(cache: CubinCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldstream.kernels.launch.SOURCES", tmp_path)
    compiler, kernel = CountingCompiler(), Kernel("mine", "mine", ())
    for text in ("// one", "// two", "// one"):
        (tmp_path / "mine.cu").write_text(text)
        compiled(kernel, "90a", compiler, cache)
    assert len(compiler.made) == 2


@pytest.mark.parametrize("damage", ["a bit", "the mark", "cut", "empty", "another's", "a folder"])
def test_what_is_not_as_written_is_refused_and_made_again(damage: str, cache: CubinCache) -> None:
    compiler = CountingCompiler()
    good = compiled(STEP, "90a", compiler, cache)
    (path,) = cache.folder.iterdir()
    data = path.read_bytes()
    other = CountingCompiler()
    compiled(LAST, "90a", other, cache)
    (foreign,) = set(cache.folder.iterdir()) - {path}
    changed = {
        "a bit": data[:-1] + bytes([data[-1] ^ 1]),
        "the mark": bytes([data[0] ^ 1]) + data[1:],
        "cut": data[: HASH + 3],
        "empty": b"",
        "another's": foreign.read_bytes(),
    }
    if damage == "a folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(changed[damage])
    assert compiled(STEP, "90a", compiler, cache) == good
    assert len(compiler.made) == 2
    assert damage == "a folder" or path.read_bytes() == data


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    compiler, cache = CountingCompiler(), CubinCache(tmp_path / "file" / "kernels")
    for _ in range(2):
        assert compiled(STEP, "90a", compiler, cache).startswith(b"\x7fELF")
    assert len(compiler.made) == 2


WRITER = """
import sys
from pathlib import Path
from worldstream.kernels.cubins import CubinCache
cache, cubin = CubinCache(Path(sys.argv[1])), b"cubin" * 20_000
assert all(cache.write("key", cubin) and cache.read("key") == cubin for _ in range(100))
"""


def test_processes_share_a_folder(cache: CubinCache) -> None:
    """Three of them write and read one file by turns: what is read is always whole."""
    command = [sys.executable, "-c", WRITER, str(cache.folder)]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    assert [(writer.communicate()[1], writer.returncode) for writer in writers] == [(b"", 0)] * 3
    assert [path.name for path in cache.folder.iterdir()] == ["key.cubin"], "no half-written files are left"


def test_keys_tell_their_parts_apart() -> None:
    assert cache_key("ab", "c") != cache_key("a", "bc")


def test_the_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "worldstream" / "kernels"


def test_a_verification_is_about_the_source_and_its_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.cu", "rows.cuh", "host.cuh", "host_memory.cuh"):
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(headers, "SOURCES", tmp_path)
    first = headers.source_hash("a")
    for name in ("host.cuh", "host_memory.cuh"):
        (tmp_path / name).write_text("the shim is not what a GPU runs")
    assert headers.source_hash("a") == first
    (tmp_path / "rows.cuh").write_text("changed")
    assert headers.source_hash("a") != first
