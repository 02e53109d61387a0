"""What the compiler made of a kernel, read from its cubin: registers, stack, spills, and how wide it reaches memory.

Instructions are counted from their bits, which takes a millisecond; NVIDIA's disassembler takes half a second. Since
Volta an instruction is 16 bytes, its kind the lowest 12 bits, the width of an access bits 73 to 75; the tests hold the
counts equal to the disassembler's from Ampere to Blackwell.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import struct
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RESOURCES = re.compile(r"Function (\w+):\s+REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)")
KINDS = {0x981: "LDG", 0x986: "STG", 0x983: "LDL", 0x387: "STL", 0x950: "RET"}
WIDE = 6  # 128 bits
FUNCTION = re.compile(r"^\.text\.(\w+):", re.MULTILINE)
ACCESS = re.compile(r"\b(LDG|STG|LDL|STL|RET)\b((?:\.\w+)*)")


@dataclass(frozen=True, slots=True)
class Inspection:
    """One function of a cubin. Counts are of instructions, not of how often they run."""

    registers: int  # of a thread
    stack: int  # bytes of a thread
    local: int  # bytes of a thread
    wide_loads: int  # of 16 bytes from device memory
    narrow_loads: int
    wide_stores: int
    narrow_stores: int
    spills: int  # loads and stores of local memory
    subroutines: int  # their returns: of exact divisions and roots, wide integer divisions


def tool(name: str) -> str:
    """`cuobjdump` or `nvdisasm`, of its wheel or on the PATH. Raises RuntimeError where it is not installed."""
    spec = importlib.util.find_spec("nvidia")
    roots = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    found = [path for root in roots for path in sorted(root.glob(f"*/bin/{name}"))]
    path = str(found[-1]) if found else shutil.which(name)
    if path is None:
        raise RuntimeError(f"{name} is not here: pip install nvidia-cuda-{name}")
    return path


def inspect(cubin: bytes) -> dict[str, Inspection]:
    """Every function of a cubin by name. Raises RuntimeError where `cuobjdump` is missing or refuses the cubin."""
    counts = {name: Counter(_accesses(code)) for name, code in _functions(cubin)}
    resources = RESOURCES.findall(_output("cuobjdump", "-res-usage", cubin=cubin))
    found = {name: _function(counts[name], list(map(int, numbers))) for name, *numbers in resources}
    if not found:
        raise RuntimeError("the cubin holds no function")
    return found


def disassembled(cubin: bytes) -> dict[str, Counter[str]]:
    """The accesses of every function, as NVIDIA's disassembler tells them: "LDG wide", "LDG", "STG wide", …"""
    parts = FUNCTION.split(_output("nvdisasm", "-c", cubin=cubin))
    return {
        name: Counter(kind + (" wide" if ".128" in suffixes else "") for kind, suffixes in ACCESS.findall(code))
        for name, code in zip(parts[1::2], parts[2::2], strict=True)
    }


def accesses(cubin: bytes) -> dict[str, Counter[str]]:
    """The same from the instructions' bits. Raises ValueError where this is no cubin."""
    return {name: Counter(_accesses(code)) for name, code in _functions(cubin)}


def _functions(cubin: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and code of the functions of a 64-bit ELF file."""
    if cubin[:5] != b"\x7fELF\x02":
        raise ValueError("not a cubin")
    (table,) = struct.unpack_from("<Q", cubin, 0x28)
    size, count, names_at = struct.unpack_from("<HHH", cubin, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", cubin, table + i * size) for i in range(count)]
    names = sections[names_at][4]
    for name_at, _, _, _, offset, length in sections:
        begin = names + name_at
        name = cubin[begin : cubin.index(b"\0", begin)].decode()
        if name.startswith(".text."):
            yield name.removeprefix(".text."), cubin[offset : offset + length]


def _accesses(code: bytes) -> Iterator[str]:
    for low, high in struct.iter_unpack("<QQ", code):
        kind = KINDS.get(low & 0xFFF)
        if kind:
            yield kind + (" wide" if kind != "RET" and high >> 9 & 7 == WIDE else "")


def _function(counts: Counter[str], numbers: list[int]) -> Inspection:
    registers, stack, _, local = numbers
    return Inspection(
        registers=registers,
        stack=stack,
        local=local,
        wide_loads=counts["LDG wide"],
        narrow_loads=counts["LDG"],
        wide_stores=counts["STG wide"],
        narrow_stores=counts["STG"],
        subroutines=counts["RET"],
        spills=sum(count for kind, count in counts.items() if kind[:3] in ("LDL", "STL")),
    )


def _output(name: str, option: str, *, cubin: bytes) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        done = subprocess.run([tool(name), option, file.name], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}: {(done.stderr or done.stdout).strip()[:200]}")
    return done.stdout
