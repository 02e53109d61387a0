"""The free text of a safetensors header; names and shapes are tested with whole files in test_checkpoint_files.py."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from worldstream.worlds.errors import CheckpointError, WeightsError
from worldstream.worlds.wan.safetensors_header import read_metadata
from worldstream.worlds.wan.state_file import read_state


def test_metadata_are_what_the_library_wrote(tmp_path: Path) -> None:
    said = {"lora_adapter_metadata": '{"r": 4}', "author": "Ω"}
    save_file({"a": torch.zeros(2)}, tmp_path / "with.safetensors", metadata=said)
    save_file({"a": torch.zeros(2)}, tmp_path / "without.safetensors")
    assert read_metadata(tmp_path / "with.safetensors") == said
    assert read_metadata(tmp_path / "without.safetensors") == {}
    assert read_metadata(tmp_path / "a pickle.pt") == {}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b'{"__metadata__": 3}', "its metadata are no text"),
        (b'{"__metadata__": {"a": 1}}', "its metadata are no text"),
        (b"[]", "it is not an object"),
        (b'{"__metadata__": {}, "__metadata__": {}}', "a name comes twice"),
        (b"\xff", "broken header"),
    ],
)
def test_odd_metadata_are_refused_in_one_line(tmp_path: Path, header: bytes, expected: str) -> None:
    path = tmp_path / "odd.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(CheckpointError, match=expected) as caught:
        read_metadata(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_part_read_whole_is_refused_as_any_other_file(tmp_path: Path) -> None:
    """One error for all that may be wrong with a file: whoever hears WeightsError hears of damage too."""
    path = tmp_path / "encoder.safetensors"
    table = json.dumps({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}).encode()
    path.write_bytes(struct.pack("<Q", len(table)) + table + b"\0" * 20)
    with pytest.raises(WeightsError, match="is truncated: 36 bytes of tensors announced, 20 there"):
        read_state(path)
