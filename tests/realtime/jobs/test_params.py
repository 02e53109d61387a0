"""Whatever a client sends as params, a job says in one line what is wrong with it and never breaks off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.realtime.jobs.clip_orders import small
from worldstream.realtime.governance.moderation import PhraseModerator, check_order
from worldstream.realtime.jobs.contract import Cancelled, JobError, JobOrder
from worldstream.realtime.jobs.kinds import KINDS, job_of
from worldstream.realtime.jobs.params import PARAMS
from worldstream.worlds.media.pictures import write_picture

FILES = ("video", "video0", "video1", "image", "audio", "media", "first", "extend", "mask", "ref0", "key0", "reference")
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from([0, 1, 2, 16, 64, 0.5, 10**400, -(10**30), "mp4", "16:9", "extend", "remove", "2k", "24"])
)  # fmt: skip
MEMBERS = st.sampled_from(["input", "tag", "at_s", "start_s", "end_s", "prompt", "ref0", "nodes", "version"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=4), max_leaves=6
)


class Bare:
    """Satisfies `Workshop`; has no world, so that nothing is drawn."""

    data = Path("nowhere")

    def setting(self, name: str) -> str:
        return ""

    def world(self, name: str = "") -> Any:
        raise ValueError("there is no world on this machine")


def ending(fraction: float, preview: Any = None) -> None:
    """Satisfies `Tell`: what has come so far was read without a fault, and the rest is work."""
    raise Cancelled


def params_of(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    """Some params of a kind are anything, the others are as they should be."""
    sane = {"seconds": 1, "width": 64, "height": 64, "prompt": "night", "text": "Hello.", "rate": "24", "seed": 1}
    usual = {name: value for name, value in sane.items() if name in PARAMS[kind]}
    names = st.sampled_from(sorted(PARAMS[kind]))
    return st.dictionaries(names, VALUES, max_size=4).map(lambda wild: {**usual, **wild})


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_bad_params_are_named_in_one_line_and_never_an_internal_fault(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp(kind)
    broken = folder / "broken"
    broken.write_bytes(b"no film, no picture, no sound")
    job = job_of(kind)

    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(params=params_of(kind), files=st.sampled_from([(), FILES]))
    def told(params: dict[str, Any], files: tuple[str, ...]) -> None:
        order = JobOrder("task", kind, params, dict.fromkeys(files, broken), folder)
        with pytest.raises((Cancelled, JobError)) as ended:
            job(order, Bare(), ending)
        if isinstance(ended.value, JobError):
            code, message = ended.value.code, ended.value.message
            assert code.split(".")[0] in ("INPUT_PREPROCESSING", "ASSET")
            assert message
            assert "\n" not in message
            assert len(message) < 1000

    told()


@pytest.mark.parametrize(
    ("kind", "params", "says"),
    [
        ("clip", {"width": 64, "height": 64}, "a clip needs seconds, a number"),
        ("clip", {"width": 64, "height": 64, "seconds": "long"}, "seconds must be a number, got 'long'"),
        ("clip", {"width": 64, "height": 64, "seconds": float("nan")}, "seconds must be a number, got nan"),
        ("clip", {"width": 64, "height": 64, "seconds": 1, "moments": [{"at_s": 1}]}, "moments must be a list like"),
        ("still", {"width": 64}, "a still needs height"),
        ("still", {"width": 64, "height": 64, "count": True}, "count must be a whole number, got True"),
        ("edit", {"keyframes": [{"at_s": 0}]}, "keyframes must be a list like"),
        ("edit", {}, "holds no video"),
        ("speech", {"text": "a", "voice": 3}, "voice must be a name or an object"),
        ("workflow", {}, "a workflow needs graph, an object"),
        ("portrait", {"width": 64, "height": 64}, "holds no image"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, kind: str, params: dict[str, Any], says: str) -> None:
    with pytest.raises(JobError, match=says):
        job_of(kind)(JobOrder("task", kind, params, {}, tmp_path), Bare(), ending)


def test_a_portrait_of_no_size_is_refused(tmp_path: Path) -> None:
    import numpy as np

    picture = write_picture(tmp_path / "p", np.zeros((20, 20, 3), np.uint8))[0]
    order = JobOrder("task", "portrait", {"width": 0, "height": 10**7}, {"image": picture}, tmp_path)
    with pytest.raises(JobError, match="1 to 2048 pixels"):
        job_of("portrait")(order, Bare(), lambda fraction, preview=None: None)


def test_every_kind_has_params_and_right_ones_pass(tmp_path: Path) -> None:
    assert PARAMS.keys() == KINDS.keys()
    params = {"prompt": "a misty forest", "width": 64, "height": 48, "seed": 2, "quality": "low", "count": 1.0}
    made = job_of("still")(JobOrder("t", "still", params, {}, tmp_path), small(), lambda fraction, preview=None: None)
    assert len(made.outputs) == 1


@pytest.mark.parametrize("moments", [3, "soon", [3], [None], {"at_s": 1}])
def test_words_are_looked_at_before_and_break_on_no_shape(tmp_path: Path, moments: Any) -> None:
    params = {"prompt": "night", "seconds": 1, "width": 64, "height": 64, "moments": moments}
    check_order(PhraseModerator(), params, {})
    with pytest.raises(JobError, match="moments must be a list"):
        job_of("clip")(JobOrder("task", "clip", params, {}, tmp_path), Bare(), ending)
