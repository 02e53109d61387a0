"""A workflow as one job: real folders, stand-ins for the jobs of its nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from worldstream.realtime.jobs.contract import Cancelled, Job, JobError, JobOrder, JobResult, Output, Refused, Tell
from worldstream.realtime.jobs.workflows import workflow
from worldstream.realtime.workflows import recipes


class Told:
    """Remembers how far it was; may cancel."""

    def __init__(self, cancels_at: float = 2.0) -> None:
        self.fractions: list[float] = []
        self.cancels_at = cancels_at

    def __call__(self, fraction: float, preview: Any = None) -> None:
        self.fractions.append(fraction)
        if fraction >= self.cancels_at:
            raise Cancelled


def find(**instead: Job) -> Any:
    """Jobs that write what they were given into a file."""

    def jobs(kind: str) -> Job:
        def job(order: JobOrder, workshop: Any, tell: Tell) -> JobResult:
            tell(0.5)
            given = ",".join(f"{name}={path.read_text()}" for name, path in sorted(order.inputs.items()))
            path = order.folder / f"made.{kind}"
            path.write_text(f"{kind}({given})")
            return JobResult((Output(path, "video/mp4"),), "none" if kind == "join" else "nano", {"seed": 1})

        return instead.get(kind, job)

    return jobs


def refusing(order: JobOrder, workshop: Any, tell: Tell) -> JobResult:
    raise Refused("No sounds here.")


def run(graph: dict[str, Any], folder: Path, tell: Tell, jobs: Any, **inputs: str) -> JobResult:
    out = folder / "out"
    out.mkdir()
    paths = {}
    for name, text in inputs.items():
        paths[name] = folder / name
        paths[name].write_text(text)
    order = JobOrder("id", "workflow", {"graph": graph}, paths, out)
    return workflow(order, None, tell, jobs)  # type: ignore[arg-type]


SHOTS = [("one", 1), ("two", 1), ("three", 1)]


def test_shots_are_joined_and_given_sound(tmp_path: Path) -> None:
    told = Told()
    result = run(recipes.multi_shot(SHOTS, (64, 64), 5, True, True), tmp_path, told, find(), image="photo")
    (output,) = result.outputs
    clips = "video0=clip(first=photo),video1=clip(),video2=clip()"
    assert output.path.read_text() == f"soundtrack(video=join({clips}))"
    assert output.path.is_relative_to(tmp_path / "out")
    assert result.model == "nano"
    assert "node_errors" not in result.facts
    assert told.fractions == sorted(told.fractions)
    assert told.fractions[0] == pytest.approx(0.1)


def test_without_sounds_the_silent_film_is_the_result(tmp_path: Path) -> None:
    jobs = find(soundtrack=refusing)
    result = run(recipes.multi_shot(SHOTS, (64, 64), 5, True, False), tmp_path, Told(), jobs)
    assert result.outputs[0].path.read_text().startswith("join(")
    assert result.facts["node_errors"] == {"sound": "No sounds here."}


def test_a_fault_of_ours_in_one_node_loses_nothing(tmp_path: Path) -> None:
    def broken(order: JobOrder, workshop: Any, tell: Tell) -> JobResult:
        raise ZeroDivisionError

    jobs = find(soundtrack=broken)
    result = run(recipes.multi_shot(SHOTS, (64, 64), 5, True, False), tmp_path, Told(), jobs)
    assert result.outputs[0].path.read_text().startswith("join(")
    assert result.facts["node_errors"]["sound"].startswith("The job broke off (ZeroDivisionError).")


def test_what_makes_nothing_fails_as_its_first_part_did(tmp_path: Path) -> None:
    def failing(order: JobOrder, workshop: Any, tell: Tell) -> JobResult:
        raise JobError("INTERNAL", "The card has gone.")

    with pytest.raises(JobError, match=r"The card has gone\.") as caught:
        run(recipes.multi_shot(SHOTS, (64, 64), 5, True, False), tmp_path, Told(), find(clip=failing))
    assert caught.value.code == "INTERNAL"  # so it is tried again
    with pytest.raises(JobError, match="cannot run: the node 'image' needs image media"):
        run(recipes.multi_shot(SHOTS, (64, 64), 5, True, True), tmp_path / "out", Told(), find())


def test_cancelling_passes_through(tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        run(recipes.multi_shot(SHOTS, (64, 64), 5, False, False), tmp_path, Told(0.3), find())


def test_a_story_becomes_five_shots() -> None:
    for seconds in (5, 10, 15):
        few = recipes.story_shots("A fox wakes. It runs.", seconds)
        assert len(few) == 5
        assert sum(s for _, s in few) == seconds
        assert few[0][0].startswith("A fox wakes. A wide")
        assert few[4][0].startswith("It runs.")
        assert len({words for words, _ in few}) == 5
    many = recipes.story_shots(" ".join(f"Sentence {n}." for n in range(12)), 10)
    assert " ".join(words for words, _ in many) == " ".join(f"Sentence {n}." for n in range(12))
