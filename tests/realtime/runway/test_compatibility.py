"""The page for those who come with Runway code shows what the tests found, operation by operation."""

from __future__ import annotations

import json

from benchmarks import compatibility
from tests.realtime.runway.routes import ROUTES, VERSIONS


def outcomes() -> dict[str, dict[str, dict[str, str]]]:
    found: dict[str, dict[str, dict[str, str]]] = json.loads(compatibility.RECORD.read_text())["outcomes"]
    return found


def test_the_page_shows_the_results_of_record() -> None:
    page = compatibility.PAGE.read_text()
    assert compatibility.page_with(compatibility.table(outcomes())) == page


def test_the_table_has_a_row_for_every_operation() -> None:
    rows = compatibility.table(outcomes()).splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(ROUTES)


def test_every_operation_was_tried_with_the_newest_client() -> None:
    found = outcomes()
    assert found.keys() == set(ROUTES)
    assert all("python" in tried for tried in found.values())
    assert {one["outcome"] for tried in found.values() for one in tried.values()} == {"works", "refused"}
    assert all(one["detail"] for tried in found.values() for one in tried.values() if one["outcome"] == "refused")


def test_notes_become_rows() -> None:
    route = "POST /v1/text_to_image"
    notes = [
        {"route": route, "sdk": "node", "outcome": "works", "detail": "19 models"},
        {"route": route, "sdk": "python", "outcome": "refused", "detail": "a | b"},
    ]
    table = compatibility.table(compatibility.merged(notes))
    assert f"| `{route}` | refused | – | works | still | 19 models |" in table
    (figure, older, node) = compatibility.record(compatibility.merged(notes))["figures"]
    assert (figure["value"], figure["met"]) == (1, False)
    assert (older["value"], node["value"]) == (0, 1)
    assert set(VERSIONS) == set(compatibility.CLIENTS)
