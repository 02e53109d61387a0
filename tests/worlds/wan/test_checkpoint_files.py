"""Weights files that are damaged, hostile or too large: one line that names the file; and good ones, piece by piece."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from worldstream.worlds.errors import CheckpointError
from worldstream.worlds.wan.checkpoint_files import open_checkpoint, pickle_roots
from worldstream.worlds.wan.layout import Layout
from worldstream.worlds.wan.synthesize import values, write_pickle, write_safetensors, write_shards

TABLE = {"a.weight": (4, 3), "b.bias": (5,), "c.gamma": (2, 1, 1)}


def raw_file(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(begin: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def complaint(path: Path, root: str | None = None) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path, root)
    text = str(caught.value)
    assert "\n" not in text
    assert path.name in text
    return text


def refused(path: Path) -> bool:
    """Whether a file is refused, in one line that names it; any other error passes through. Else it was read whole."""
    try:
        for _ in open_checkpoint(path).tensors():
            pass
    except CheckpointError as error:
        text = str(error)
    else:
        return False
    assert str(path) in text
    assert "\n" not in text
    return True


def test_a_written_file_reads_the_same_with_the_library(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_safetensors(path, TABLE, torch.bfloat16, seed=3)
    library = load_file(path)
    checkpoint = open_checkpoint(path)
    assert checkpoint.signature == {key: (tuple(v.shape), v.dtype) for key, v in library.items()}
    assert checkpoint.bytes == sum(v.nbytes for v in library.values())
    for name, tensor in checkpoint.tensors(torch.float32):
        assert torch.equal(tensor, library[name].float())


@pytest.mark.parametrize(
    ("header", "data", "expected"),
    [
        ({"a": entry(0, 8, [2])}, b"1234", "truncated"),
        ({"a": entry(0, 8, [2])}, b"123456789", "too long"),
        ({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, b"x" * 12, "overlaps"),
        ({"a": entry(0, 8, [2]), "b": entry(12, 20, [2])}, b"x" * 20, "gap"),
        ({"a": entry(0, 8, [2], "F4")}, b"x" * 8, "unknown type 'F4'"),
        ({"a": entry(0, 8, [3])}, b"x" * 8, "needs 12"),
        ({"a": entry(0, 8, [-2])}, b"x" * 8, "no whole number"),
        ({"a": entry(0, 0, [2**40, 2**40])}, b"", "needs"),
        ({"a": entry(0, 8, [True, 2])}, b"x" * 8, "no whole number"),
        ({"a": {"dtype": "F32"}}, b"", "broken header"),
        ({"a": {"dtype": [], "shape": [], "data_offsets": [0, 0]}}, b"", "broken header"),
        ([1, 2], b"", "not an object"),
        (b'{"a":1,"a":2}', b"", "comes twice"),
        (b"[" * 200_000, b"", "broken header"),
        (b"\xff\xfe", b"", "broken header"),
    ],
)
def test_broken_headers(tmp_path: Path, header: Any, data: bytes, expected: str) -> None:
    assert expected in complaint(raw_file(tmp_path / "x.safetensors", header, data))


def test_a_wrong_length_and_a_cut_file(tmp_path: Path) -> None:
    assert "truncated" in complaint(raw_file(tmp_path / "x.safetensors", {}, length=10**9))
    assert "truncated" in complaint(raw_file(tmp_path / "y.safetensors", {}, length=2**63))
    (tmp_path / "z.safetensors").write_bytes(b"abc")
    assert "it has 3 bytes" in complaint(tmp_path / "z.safetensors")
    whole = tmp_path / "w.safetensors"
    save_file({"a": torch.ones(100)}, whole)
    whole.write_bytes(whole.read_bytes()[:-7])
    assert "400 bytes of tensors announced, 393 there" in complaint(whole)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_hostile_bytes_are_a_signature_or_one_line(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes flipped, cut and inserted anywhere; whatever is accepted, the library reads as announced."""
    path = tmp_path / "x.safetensors"
    write_safetensors(path, TABLE, torch.float16, seed=0)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(("flip", "cut", "insert")))
        if kind == "flip":
            content[at] ^= data.draw(st.integers(1, 255))
        elif kind == "cut":
            del content[at : at + data.draw(st.integers(1, 9))]
        else:
            content[at:at] = data.draw(st.binary(max_size=9))
        if not content:
            break
    path.write_bytes(bytes(content))
    if refused(path):
        return
    signature = open_checkpoint(path).signature
    read = {name: (tuple(t.shape), t.dtype) for name, t in open_checkpoint(path).tensors()}
    assert read == signature


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(header=json_values, name=st.sampled_from(["a", "__metadata__"]), nested=st.booleans())
def test_hostile_headers(tmp_path: Path, header: Any, name: str, nested: bool) -> None:
    value = {"dtype": "F32", "shape": header, "data_offsets": header} if nested else header
    path = raw_file(tmp_path / "x.safetensors", {name: value})
    refused(path)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_hostile_pickles(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "x.pt"
    torch.save({"model.a": torch.ones(3), "model.b": torch.zeros(2, 2)}, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(1, len(content)))]))
    refused(path)


class Trap:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


def test_code_in_a_pickle_never_runs(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    trap = Trap(f"touch {sprung}")
    path = tmp_path / "x.pt"
    torch.save({"generator_ema": {"a": torch.ones(2)}, "extra": trap}, path)
    assert "holds code" in complaint(path)
    (tmp_path / "old.pth").write_bytes(pickle.dumps({"a": trap}))
    assert "pickle of the old kind" in complaint(tmp_path / "old.pth")
    with zipfile.ZipFile(tmp_path / "plain.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(trap))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    complaint(tmp_path / "plain.pt")
    assert not sprung.exists()


def test_archives_that_are_no_checkpoint(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.pt", "w") as archive:
        archive.writestr("run.py", "print('hello')")
    assert "no checkpoint of torch" in complaint(tmp_path / "photos.pt")
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"0" * 10**7)
    assert "compressed" in complaint(tmp_path / "bomb.pt")
    torch.save({"a": torch.ones(2)}, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    assert "old kind" in complaint(tmp_path / "legacy.pt")
    (tmp_path / "text.bin").write_text("hello")
    assert "truncated or no checkpoint" in complaint(tmp_path / "text.bin")
    buffer = io.BytesIO()
    torch.save({"a": torch.ones(1000)}, buffer)
    (tmp_path / "cut.pt").write_bytes(buffer.getvalue()[:-500])
    assert "truncated" in complaint(tmp_path / "cut.pt")


def test_pickles_without_weights(tmp_path: Path) -> None:
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    assert "not a state dict" in complaint(tmp_path / "list.pt")
    torch.save({"a": torch.ones(2), "step": 7}, tmp_path / "mixed.pt")
    assert "no tensor ('step', int)" in complaint(tmp_path / "mixed.pt")
    assert "no entry 'generator'" in complaint(tmp_path / "mixed.pt", "generator")


def test_tensors_of_other_kinds(tmp_path: Path) -> None:
    torch.save({"a": torch.eye(3).to_sparse()}, tmp_path / "sparse.pt")
    assert "sparse" in complaint(tmp_path / "sparse.pt")
    torch.save({"a": torch.ones(2, device="meta")}, tmp_path / "meta.pt")
    assert "empty" in complaint(tmp_path / "meta.pt")
    torch.save({"a": nn.Parameter(torch.ones(2))}, tmp_path / "parameter.pt")
    ((_, tensor),) = open_checkpoint(tmp_path / "parameter.pt").tensors(torch.bfloat16)
    assert not tensor.requires_grad


def test_the_averaged_weights_are_preferred(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    state = {"generator": {"a": torch.zeros(2)}, "generator_ema": {"a": torch.ones(2)}, "critic": {}, "step": 10}
    torch.save(state, path)
    assert pickle_roots(path) == ("generator_ema", "generator")
    assert open_checkpoint(path).root == "generator_ema"
    ((_, averaged),) = open_checkpoint(path).tensors()
    ((_, last),) = open_checkpoint(path, "generator").tensors()
    assert averaged.sum() == 2
    assert last.sum() == 0


def test_a_written_pickle_is_what_torch_writes(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    write_pickle(path, TABLE, torch.float32, 5, "generator")
    whole = torch.load(path, weights_only=True)["generator"]
    mapped = dict(open_checkpoint(path).tensors())
    assert whole.keys() == TABLE.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, mapped[name])
        assert torch.equal(tensor.view(-1), torch.cat(list(values(name, TABLE[name], torch.float32, 5))))
    assert torch.equal(whole["b.bias"], torch.zeros(5))
    assert torch.equal(whole["c.gamma"], torch.ones(2, 1, 1))
    assert 0.1 < float(whole["a.weight"].std()) < 2


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_reading_keeps_one_tensor_at_a_time(tmp_path: Path, suffix: str) -> None:
    table: Layout = {f"t{n}.weight": (2**21,) for n in range(24)}  # 8 MB each, 200 in all
    path = tmp_path / f"x.{suffix}"
    if suffix == "pt":
        write_pickle(path, table, torch.float32, 0, "")
    else:
        write_safetensors(path, table, torch.float32, 0)

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    start = resident()
    growth = [resident() - start for _, tensor in open_checkpoint(path).tensors() if tensor.sum() > 0]
    assert len(growth) == 24
    assert max(growth) < 64e6


def test_two_names_of_one_tensor(tmp_path: Path) -> None:
    shared = torch.randn(100, 100, generator=torch.Generator().manual_seed(0))
    torch.save({"a": shared, "b": shared, "c": shared[50:]}, tmp_path / "tied.pt")
    read = dict(open_checkpoint(tmp_path / "tied.pt").tensors())
    assert torch.equal(read["a"], shared)
    assert torch.equal(read["b"], shared)
    assert torch.equal(read["c"], shared[50:])


def test_shards(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    written = write_shards(path, TABLE, torch.float32, 1, shards=2)
    index = written[-1]
    assert [p.name for p in written] == [
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json",
    ]  # fmt: skip
    checkpoint = open_checkpoint(index)
    assert {name: shape for name, (shape, _) in checkpoint.signature.items()} == TABLE
    assert {name for name, _ in checkpoint.tensors()} == set(TABLE)
    saved = written[0].read_bytes()
    written[0].unlink()
    assert "needs the shard model-00001-of-00002.safetensors, which is missing" in complaint(index)
    write_safetensors(written[0], {"a.weight": (4, 3), "z": (1,)}, torch.float32, 1)
    with pytest.raises(CheckpointError, match="disagree about 'z'"):
        open_checkpoint(index)
    written[0].write_bytes(saved[:-1])
    with pytest.raises(CheckpointError, match="truncated"):
        open_checkpoint(index)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"weight_map": {"a": "../secret.safetensors"}}', "no file beside it"),
        ('{"weight_map": {"a": "/etc/passwd"}}', "no file beside it"),
        ('{"weight_map": {}}', "lists no shard"),
        ('{"weight_map": 3}', "no index of shards"),
        ("{", "no index of shards"),
    ],
)
def test_hostile_indexes(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "m.safetensors.index.json"
    path.write_text(content)
    assert expected in complaint(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    assert "not a file" in complaint(tmp_path / "none.safetensors")
    os.mkfifo(tmp_path / "pipe.safetensors")
    assert "not a file" in complaint(tmp_path / "pipe.safetensors")  # and does not wait for a writer
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    assert "no weights file" in complaint(tmp_path / "x.gguf")


def test_links_lead_to_weights_as_in_a_cache(tmp_path: Path) -> None:
    blob = tmp_path / "blobs"
    blob.mkdir()
    save_file({"a": torch.ones(2)}, blob / "0123")
    (tmp_path / "m.safetensors").symlink_to(blob / "0123")
    assert open_checkpoint(tmp_path / "m.safetensors").signature["a"] == ((2,), torch.float32)


def test_a_checkpoint_larger_than_memory_is_not_begun(tmp_path: Path) -> None:
    """40 TB by its header, in a file that takes no room; not one byte of it is read."""
    path = tmp_path / "huge.safetensors"
    size = 10 * 2**40
    raw_file(path, {"a": entry(0, 4 * size, [size])})
    start = path.stat().st_size
    try:
        os.truncate(path, start + 4 * size)
    except OSError:  # a file system with smaller files
        size = 2**40
        raw_file(path, {"a": entry(0, 4 * size, [size])})
        os.truncate(path, path.stat().st_size + 4 * size)
    checkpoint = open_checkpoint(path)
    with pytest.raises(CheckpointError, match=r"huge\.safetensors needs \d+\.\d\d GiB of memory and"):
        next(checkpoint.tensors())
