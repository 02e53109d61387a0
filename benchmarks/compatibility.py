"""Which operations of the Runway API work here with the official, unmodified SDKs: the table of docs/runway.md.

    python benchmarks/compatibility.py           # runs the SDK tests, writes results and table
    python benchmarks/compatibility.py --check   # only says whether the page shows the results of record

The outcomes are those that the tests note while they run: an operation whose test fails gets no outcome.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import ROOT, Figure, at_least, commit, machine
from benchmarks.report import versions as installed
from tests.realtime.runway.routes import ROUTES, VERSIONS

PAGE, RECORD = ROOT / "docs" / "runway.md", ROOT / "benchmarks" / "results" / "compatibility.json"
START, END = "<!-- table: made by benchmarks/compatibility.py -->", "<!-- /table -->"
TESTS = ("test_python_sdk.py", "test_python_sdk_library.py", "test_older_sdk.py", "test_node_sdk.py")
SHOWN = ("name", "value", "unit", "target", "met")
CLIENTS = {"python": "Python", "older python": "Python", "node": "Node"}
ANSWERS = {  # what does the work, of realtime/jobs/kinds.py
    "text_to_video": "clip", "image_to_video": "clip", "video_to_video": "edit", "text_to_image": "still",
    "image_upscale": "upscale_image", "video_upscale": "upscale_video, frame_rate", "video_to_hdr": "hdr",
    "video_to_audio": "soundtrack", "text_to_speech": "speech", "sound_effect": "sound",
    "speech_to_speech": "voice_change", "voice_dubbing": "dub", "voice_isolation": "isolate",
}  # fmt: skip


def tried() -> list[dict[str, Any]]:
    """Run the tests; what they noted. Raises CalledProcessError where one fails."""
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes.jsonl"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        tests = [str(ROOT / "tests" / "realtime" / "runway" / name) for name in TESTS]
        subprocess.run(
            [*command, *tests], cwd=ROOT, check=True, env={**os.environ, "WORLDSTREAM_COMPATIBILITY": str(notes)}
        )
        return [json.loads(line) for line in notes.read_text().splitlines()]


def merged(notes: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, str]]]:
    """route -> client -> {outcome, detail}."""
    found: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
    for note in notes:
        found[note["route"]][note["sdk"]] = {"outcome": note["outcome"], "detail": note["detail"]}
    return {route: found[route] for route in ROUTES if route in found}


def record(outcomes: dict[str, dict[str, dict[str, str]]]) -> dict[str, Any]:
    """In the form of all results of record."""
    figures = []
    for client, version in VERSIONS.items():
        answered = sum(client in found for found in outcomes.values())
        name, unit = f"operations that {CLIENTS[client]} SDK {version} was tried on", f"of {len(ROUTES)}"
        newest = client == "python"  # the others have fewer, or are tried on what they do differently
        figures.append(at_least(name, answered, unit, len(ROUTES)) if newest else Figure(name, answered, unit))
    said = [{k: v for k, v in asdict(one).items() if k in SHOWN} for one in figures]
    return {"machine": machine(), "versions": installed(), "commit": commit(), "figures": said, "outcomes": outcomes}


def table(outcomes: dict[str, dict[str, dict[str, str]]]) -> str:
    """Markdown, a row for each operation."""
    heads = [f"{CLIENTS[client]} {version}" for client, version in VERSIONS.items()]
    lines = ["| operation | " + " | ".join(heads) + " | done by | notes |", "|---" * (len(heads) + 3) + "|"]
    for route in ROUTES:
        found = outcomes.get(route, {})
        cells = [found.get(client, {}).get("outcome", "–") for client in VERSIONS]
        details = [one["detail"] for one in found.values() if one["detail"]]
        job = _done_by(route.removeprefix("POST /v1/"))
        notes = details[0].replace("|", "\\|") if details else ""
        lines.append(f"| `{route}` | {' | '.join(cells)} | {job} | {notes} |")
    return "\n".join(lines)


def _done_by(name: str) -> str:
    if name.startswith("generate/"):
        return "what the router chooses"
    return "a workflow" if name.startswith(("recipes/", "workflows/")) else ANSWERS.get(name, "")


def page_with(text: str) -> str:
    """The page with this table in its place."""
    page = PAGE.read_text()
    before, _, rest = page.partition(START)
    return f"{before}{START}\n\n{text}\n\n{END}{rest.partition(END)[2]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare the page with the results of record")
    if not parser.parse_args().check:
        RECORD.write_text(json.dumps(record(merged(tried())), indent=1, ensure_ascii=False) + "\n")
        PAGE.write_text(page_with(table(json.loads(RECORD.read_text())["outcomes"])))
    agrees = page_with(table(json.loads(RECORD.read_text())["outcomes"])) == PAGE.read_text()
    print(f"{PAGE.relative_to(ROOT)} {'shows' if agrees else 'does not show'} the results of record")
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
