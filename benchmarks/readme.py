"""The README's tables, from the results of record.

    python benchmarks/readme.py [--check]

Every figure of `benchmarks/results/*.json` that has a target goes into the README between the two `figures` marks,
with the command that makes it, met or missed. `--check` only says whether the README agrees with the files.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import BESIDE, ROOT

START, END = "<!-- figures: made by benchmarks/readme.py -->", "<!-- /figures -->"
COMMANDS = {
    "quality": "python benchmarks/quality.py",
    "latency": "python benchmarks/latency.py",
    "throughput": "python benchmarks/throughput.py",
    "soak": "python benchmarks/soak.py --minutes 60 --strips benchmarks/results/hour",
    "renderer": "python benchmarks/renderer.py",
    "clips": "python benchmarks/clips.py",
    "edits": "python benchmarks/edits.py --clips 72 --frames 17 --processes 2",
    "media": "python benchmarks/media.py",
    "sounds": "python benchmarks/sounds.py",
    "tasks": "python benchmarks/tasks.py",
    "fresh_clone": "scripts/fresh-clone.sh",
}
ALWAYS = (
    "tokenizer PSNR",
    "prompt alone, theme at 0",
    "prompt alone, theme at 99",
    "denoising steps",
    "ceiling of the mean",
)


def number(value: float) -> str:
    """Three significant digits, no noise."""
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def wanted(figure: dict[str, Any]) -> bool:
    """Figures with a target, and the few that a reader needs beside them."""
    return figure["target"] is not None or any(figure["name"].endswith(name) for name in ALWAYS)


def rows_of(command: str, figures: list[dict[str, Any]]) -> list[str]:
    """One benchmark's table. Where figures have others to be held against, these stand beside the measured value."""
    beside = [key for key in BESIDE if any(f.get(key) is not None for f in figures)]
    heads = "".join(f" {BESIDE[key]} |" for key in beside)
    rows = [f"| `{command}` | measured |{heads} target | |", "|---|---|" + "---|" * len(beside) + "---|---|"]
    for f in figures:
        met = {True: "met", False: "**missed**", None: ""}[f["met"]]
        others = "".join(f" {'' if f.get(key) is None else number(f[key])} |" for key in beside)
        rows.append(f"| {f['name'].strip()} | {number(f['value'])} {f['unit']} |{others} {f['target'] or ''} | {met} |")
    return rows


def table(results: Path) -> str:
    """All results of record as one Markdown table per benchmark."""
    parts = []
    for name, command in COMMANDS.items():
        path = results / f"{name}.json"
        if not path.exists():
            continue
        report = json.loads(path.read_text())
        machine = report["machine"]
        rows = [*rows_of(command, [f for f in report["figures"] if wanted(f)]), ""]
        rows.append(f"<sub>{machine['cpu']}, {machine['cores']} cores, commit {report['commit']}</sub>")
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def spliced(readme: str, tables: str) -> str:
    """The README with the tables between the marks. Raises ValueError where the marks are missing."""
    if START not in readme or END not in readme:
        raise ValueError(f"README.md must hold the marks {START} and {END}")
    before, rest = readme.split(START, 1)
    return f"{before}{START}\n\n{tables}\n\n{END}{rest.split(END, 1)[1]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where the README is behind")
    arguments = parser.parse_args()
    path = ROOT / "README.md"
    readme = path.read_text()
    new = spliced(readme, table(ROOT / "benchmarks" / "results"))
    if arguments.check:
        print("README.md agrees" if new == readme else "README.md is behind: run python benchmarks/readme.py")
        return int(new != readme)
    path.write_text(new)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
