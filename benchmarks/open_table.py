"""Tables of README and docs/open-checkpoints.md: open checkpoints, from their published shapes, and what is known of
each kernel.

    python benchmarks/open_table.py [--check]

Sizes and memory are counted, not measured: weights and one session in bf16, without the encoders, which make room
again after use. `--check` only says whether the pages agree.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import ROOT
from worldstream.kernels import verification
from worldstream.worlds.wan import families
from worldstream.worlds.wan.families import FAMILIES, Family
from worldstream.worlds.wan.layout import parameters, transformer
from worldstream.worlds.wan.layout_parts import TaehvShape, VaeShape, taehv, vae
from worldstream.worlds.wan.live import LIVE
from worldstream.worlds.wan.memory import GIB, session_bytes, weights_bytes

PAGES = (ROOT / "docs" / "open-checkpoints.md", ROOT / "README.md")
START, END = "<!-- table: made by benchmarks/open_table.py -->", "<!-- /table -->"
KERNELS_START, KERNELS_END = "<!-- kernels: made by benchmarks/open_table.py -->", "<!-- /kernels -->"
LICENCES = {  # of the weights, as their authors state it; `models add` reads it from the folder's own card
    "wan": "Apache-2.0", "self": "Apache-2.0", "causal": "Apache-2.0", "longlive": "Apache-2.0", "matrix": "MIT",
}  # fmt: skip
VERIFIED = "layout and numerics verified with random weights"


def memory_gib(family: Family) -> float:
    """Weights, decoders and one session at the first size and window, TAEHV where it may decode."""
    small = families.DECODER in family.needs
    decoder = TaehvShape() if small else VaeShape()
    width, height = family.sizes[0]
    session = session_bytes(
        family.shape, width, height, family.windows[0], decoder, family.chunk, causal=family.causal, sink=family.sink
    )
    held = weights_bytes(transformer(family.shape)) + weights_bytes(taehv(TaehvShape()) if small else vae(VaeShape()))
    return (held + session.total) / GIB


def row(family: Family) -> str:
    """One line of the table."""
    size = parameters(transformer(family.shape)) / 1e9
    width, height = family.sizes[0]
    licence = next(value for key, value in LICENCES.items() if family.name.startswith(key))
    controls = ", ".join(LIVE[family.name].controls) if family.name in LIVE else "clips, not played live"
    memory = (
        f"{memory_gib(family):.1f} GiB, window {family.windows[0]}"
        if family.causal
        else f"{memory_gib(family):.1f} GiB"
    )
    return f"| `{family.name}` | {licence} | {size:.2f} B | {memory} | {controls} | {width}×{height} | {VERIFIED} |"


def table() -> str:
    """The whole table in Markdown."""
    head = [
        "| name | licence of the weights | size | memory in bf16 | controls | picture | status |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *(row(family) for family in FAMILIES.values())])


def between(page: str, start: str, end: str, content: str) -> str:
    """The page with `content` between two marks."""
    before, rest = page.split(start)
    return f"{before}{start}\n\n{content}\n\n{end}{rest.split(end)[1]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail where the page differs")
    options = parser.parse_args()
    differs = False
    for path in PAGES:
        page = path.read_text()
        wanted = between(page, START, END, table())
        if KERNELS_START in page:
            wanted = between(wanted, KERNELS_START, KERNELS_END, verification.table())
        differs |= wanted != page
        if not options.check:
            path.write_text(wanted)
    return int(options.check and differs)


if __name__ == "__main__":
    sys.exit(main())
