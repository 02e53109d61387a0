"""The page of open checkpoints shows what its script works out."""

from __future__ import annotations

from benchmarks import open_table
from worldstream.kernels import verification
from worldstream.worlds.wan.families import FAMILIES


def test_the_pages_agree_with_the_script() -> None:
    assert all(open_table.table() in page.read_text() for page in open_table.PAGES)


def test_the_readme_tells_what_is_known_of_each_kernel() -> None:
    assert verification.table() in open_table.PAGES[1].read_text()


def test_every_checkpoint_has_a_row_and_a_licence() -> None:
    rows = open_table.table().splitlines()[2:]
    assert len(rows) == len(FAMILIES)
    assert all(name in row and ("Apache-2.0" in row or "MIT" in row) for name, row in zip(FAMILIES, rows, strict=True))


def test_memory_of_the_smallest_case_is_as_promised() -> None:
    """1.3B at 832x480, window 12, TAEHV: at most 14 GB, counted."""
    assert open_table.memory_gib(FAMILIES["longlive"]) < 14e9 / 2**30
