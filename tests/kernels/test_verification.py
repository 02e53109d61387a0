"""What is said of a kernel that no GPU has run, has run, and has run before it was changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import kernel_lines
from worldstream.kernels import verification
from worldstream.kernels.headers import source_hash
from worldstream.kernels.verification import Verification, keep, standings, table

CPU = "tests/kernels/test_on_cpu.py::test_rms_norm"
CUBINS = "tests/kernels/test_cubins.py::test_kernels_of_the_1_3b_worlds[90a]"


def run_of(operator: str, source: str | None = None) -> dict[str, Verification]:
    hash_now = source_hash(operator) if source is None else source
    return {operator: Verification(hash_now, "NVIDIA H100", "580.1", "13.0", "2026-11-21", ("1.3B",))}


def texts(record: Path) -> dict[str, str]:
    return {standing.operator: standing.text() for standing in standings(record)}


def test_without_a_run_nothing_is_verified(tmp_path: Path) -> None:
    assert set(texts(tmp_path / "absent.json").values()) == {"compiled, CPU-checked, not GPU-verified"}
    assert len(standings(tmp_path / "absent.json")) == 9


def test_a_run_verifies_the_source_that_it_ran(tmp_path: Path) -> None:
    record = tmp_path / "verified.json"
    keep(run_of("rms_norm"), record)
    keep(run_of("i420", "an older source"), record)
    said = texts(record)
    assert said["rms_norm"] == "GPU-verified (NVIDIA H100, 2026-11-21)"
    assert said["i420"] == "compiled, CPU-checked, not GPU-verified (changed since 2026-11-21)"
    assert said["bias_gelu"] == "compiled, CPU-checked, not GPU-verified"
    assert "| rms_norm | GPU-verified" in table(record)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"i420": 3}', '{"i420": {"source": "x"}}', '{"i420": {"cases": 1}}'])
def test_a_damaged_record_verifies_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "verified.json").write_text(text)
    assert set(texts(tmp_path / "verified.json").values()) == {"compiled, CPU-checked, not GPU-verified"}


def test_the_record_in_the_repository_is_of_this_form() -> None:
    if verification.RECORD.exists():
        raw = json.loads(verification.RECORD.read_text())
        assert set(raw) <= set(verification.operators())
        assert all(Verification(**run).date for run in raw.values())


def test_the_report_claims_what_has_just_passed() -> None:
    both = kernel_lines([CPU, CUBINS], [])
    assert len(both) == 9
    assert all("compiled, CPU-checked" in line or "GPU-verified (" in line for line in both)
    unverified = [line for line in kernel_lines([CUBINS], []) if "GPU-verified (NV" not in line]
    assert all("compiled, not CPU-checked here, not GPU-verified" in line for line in unverified)
    failed = [line for line in kernel_lines([CPU], [CUBINS]) if "GPU-verified (NV" not in line]
    assert all("not compiled here, CPU-checked" in line for line in failed)
    assert kernel_lines(["tests/test_house.py::x"], []) == []
