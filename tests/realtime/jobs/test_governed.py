"""Every job is looked at before and signed after."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from worldstream.realtime.governance.certificate import FOLDER, credential
from worldstream.realtime.governance.provenance import read
from worldstream.realtime.jobs import governed as module
from worldstream.realtime.jobs.contract import JobError, JobOrder, JobResult, Output, Tell, Workshop
from worldstream.realtime.jobs.governed import governed, governed_job_of
from worldstream.realtime.jobs.kinds import KINDS


@dataclass
class Bench:
    """A workshop with settings."""

    data: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    def setting(self, name: str) -> str:
        return self.settings.get(name, "")

    def world(self, name: str = "") -> Any:
        raise AssertionError("no world is needed")


def tell(fraction: float, preview: Any = None) -> None:
    pass


def paint(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    picture, text = order.folder / "0.png", order.folder / "1.txt"
    Image.fromarray(np.full((24, 32, 3), 90, np.uint8)).save(picture)
    text.write_text("no place for a signature")
    both = (Output(picture, "image/png"), Output(text, "text/plain"))
    return JobResult(both[: 2 if order.params.get("text") else 1], "nano", {"seed": 5, "width": 32})


def order(folder: Path, **params: Any) -> JobOrder:
    return JobOrder("task-7", "still", params, {}, folder)


def test_what_was_made_says_so(tmp_path: Path) -> None:
    result = governed(paint)(order(tmp_path, prompt="sea"), Bench(tmp_path / "data"), tell)
    assert result.facts["provenance"] == "signed"
    found = read(result.outputs[0].path, credential(tmp_path / "data" / FOLDER).root)
    assert found is not None
    assert found.trusted
    assert found.facts == {"model": "nano", "kind": "still", "task": "task-7", "seed": 5, "width": 32, "prompt": "sea"}
    assert found.source_type == "trainedAlgorithmicMedia"


def test_words_can_be_kept_out_and_signing_off(tmp_path: Path) -> None:
    plain = governed(paint)(order(tmp_path, prompt="sea"), Bench(tmp_path / "data", {"provenance": "plain"}), tell)
    found = read(plain.outputs[0].path)
    assert found is not None
    assert "prompt" not in found.facts
    off = governed(paint)(order(tmp_path), Bench(tmp_path / "data", {"provenance": "off"}), tell)
    assert off.facts["provenance"] == "off"
    assert read(off.outputs[0].path) is None


def test_what_has_no_place_for_it_is_said(tmp_path: Path) -> None:
    result = governed(paint)(order(tmp_path, text=True), Bench(tmp_path / "data"), tell)
    assert result.facts["provenance"] == "not in this format"


def test_what_cannot_be_signed_is_not_handed_out(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "data", {"certificate": str(tmp_path / "missing.pem"), "certificate_key": "k"})
    with pytest.raises(JobError, match="cannot be read") as caught:
        governed(paint)(order(tmp_path), bench, tell)
    assert caught.value.code == "INTERNAL"


def test_what_is_refused_is_not_begun(tmp_path: Path) -> None:
    def never(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
        raise AssertionError("it began")

    with pytest.raises(JobError) as caught:
        governed(never)(order(tmp_path, prompt="a naked child"), Bench(tmp_path), tell)
    assert caught.value.code == "SAFETY.INPUT.TEXT"
    with pytest.raises(JobError, match="must be off") as caught:
        governed(never)(order(tmp_path), Bench(tmp_path, {"moderation": "maybe"}), tell)
    assert caught.value.code == "INTERNAL"


def test_every_kind_has_a_source_type() -> None:
    assert set(KINDS) <= set(module.SOURCE_TYPES)
    with pytest.raises(ValueError, match="no kind of job"):
        governed_job_of("nothing")
