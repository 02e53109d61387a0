"""How a model is chosen: every filter, every preference, and that nothing chosen refuses what it was chosen for."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldstream.realtime.runway.models import Alias, Catalogue
from worldstream.realtime.runway.routing import (
    FILTERS,
    Choice,
    Preferences,
    candidates,
    choose,
    endpoint_of,
    names,
    preferences,
    resolved,
)

PICTURE = "https://pictures.example/a.png"
CATALOGUE = Catalogue()


def chosen(modality: str, wanted: dict[str, Any], full: Any = lambda _: False, **asked: Any) -> Choice:
    return choose(candidates(modality, wanted, CATALOGUE), Preferences(**asked), CATALOGUE, full)


def left_by(choice: Choice, filter: str) -> list[str]:
    return next(list(stage["models"]) for stage in choice.pipeline if stage.get("filter") == filter)


def test_the_story_is_told_in_order() -> None:
    choice = chosen("video", {"promptText": "A boat."})
    assert [stage.get("filter") for stage in choice.pipeline] == [*FILTERS, None]
    assert choice.pipeline[-1] == {"type": "rank", "outcome": "cost"}
    assert choice.chosen is not None
    assert (choice.chosen.name, choice.reason_code, choice.emptied_by) == ("gen4.5", "lowest_cost", "")
    for before, after in pairwise(FILTERS):
        assert set(left_by(choice, after)) <= set(left_by(choice, before))


@pytest.mark.parametrize(
    ("modality", "wanted", "emptied_by"),
    [
        ("video", {"promptText": "x", "audio": True, "duration": 61}, "capability"),
        ("video", {"promptText": "x" * 1500, "negativePrompt": "rain"}, "prompt_length"),
        ("video", {"promptText": "x", "referenceAudio": [{"uri": PICTURE}]}, "input_support"),
        ("video", {"promptText": "x", "referenceVideos": [{"uri": PICTURE, "role": "reference"}]}, "input_support"),
        ("image", {"promptText": "x", "aspectRatio": "4:5", "resolution": "4k", "seed": 1}, "capability"),
        ("image", {"promptText": "x", "referenceImages": [{"uri": PICTURE}] * 16, "seed": 1}, "input_support"),
        ("audio", {"type": "speech", "promptText": "x", "loop": True}, "capability"),
        ("audio", {"type": "audio", "promptText": "x" * 4999, "loop": True}, "prompt_length"),
        (
            "audio",
            {"type": "audio", "promptText": "x", "voice": {"type": "preset", "presetId": "Maya"}},
            "input_support",
        ),
    ],
)
def test_what_empties_the_pool(modality: str, wanted: dict[str, Any], emptied_by: str) -> None:
    choice = chosen(modality, wanted)
    assert (choice.chosen, choice.emptied_by) == (None, emptied_by)
    assert choice.pipeline[-1] == {"type": "filter", "filter": emptied_by, "models": []}


def test_a_film_with_sound_goes_to_a_name_that_has_it() -> None:
    choice = chosen("video", {"promptText": "x", "audio": True})
    assert choice.chosen is not None
    assert choice.chosen.body is not None
    assert choice.chosen.body.sent()["audio"] is True


def test_settings() -> None:
    wanted = {"promptText": "A boat.", "duration": 5}
    first = {"promptText": "x", "referenceImages": [{"uri": PICTURE, "role": "first"}]}
    only = chosen("video", wanted, mode="allowlist_only", ids=frozenset({"veo3.1", "gen4.5"}))
    assert left_by(only, "allow_deny") == ["gen4.5"]  # veo3.1 makes 4, 6 or 8 s
    assert (only.reason_code, only.pipeline[-1]["outcome"]) == ("only_eligible_model", "single_candidate")
    other = chosen("video", wanted, ids=frozenset({"gen4.5"})).chosen
    assert other is not None
    assert other.name != "gen4.5"
    assert chosen("video", wanted, ceiling=59).emptied_by == "price"
    assert chosen("video", wanted, ceiling=60).chosen is not None
    assert chosen("video", wanted, mode="allowlist_only", ids=frozenset({"gen4_image"})).emptied_by == "allow_deny"
    quick, slow = chosen("video", first, optimize_for="latency"), chosen("video", first, optimize_for="quality")
    assert quick.chosen is not None
    assert slow.chosen is not None
    assert (quick.chosen.name, quick.reason_code) == ("gen4_turbo", "best_latency")
    assert (slow.chosen.name, slow.reason_code) == ("gen4.5", "best_quality")


def test_capacity() -> None:
    wanted = {"promptText": "x"}
    waits = chosen("video", wanted, full=lambda name: name == "gen4.5")
    assert waits.chosen is not None
    assert (waits.chosen.name, waits.skipped) == ("gen4.5", ())  # not asked to go elsewhere
    moves = chosen("video", wanted, full=lambda name: name == "gen4.5", on_capacity=True)
    assert moves.chosen is not None
    assert (moves.chosen.name == "gen4.5", moves.skipped, moves.all_exhausted) == (False, ("gen4.5",), False)
    assert moves.pipeline[-2] == {"type": "capacity", "skipped": ["gen4.5"], "allExhausted": False}
    full = chosen("video", wanted, full=lambda name: True, on_capacity=True)
    assert full.chosen is not None
    assert (full.chosen.name, full.skipped, full.all_exhausted) == ("gen4.5", (), True)


def test_the_operators_own_names() -> None:
    catalogue = Catalogue({"my-film": Alias(like="gen4.5", credits_per_second=1)})
    assert {"my-film", "gen4.5", "veo3.1", "gen4_image", "eleven_v3"} <= names(catalogue)
    choice = choose(candidates("video", {"promptText": "x"}, catalogue), Preferences(), catalogue)
    assert choice.chosen is not None
    assert (choice.chosen.name, choice.chosen.credits) == ("my-film", 5)
    assert choice.chosen.body is not None
    assert choice.chosen.body.sent()["model"] == "gen4.5"


def test_shapes_and_voices_are_mapped() -> None:
    wide = {"promptText": "x", "aspectRatio": "21:9", "referenceImages": [{"uri": PICTURE, "role": "first"}]}
    choice = chosen("video", wide, optimize_for="quality").chosen
    assert choice is not None
    assert choice.body is not None
    assert choice.body.sent()["ratio"] == "1584:672"
    assert resolved("video", wide, choice) == {"duration": 5, "ratio": "1584:672", "resolution": "720p"}
    speech = {"type": "speech", "promptText": "Hi.", "voice": {"type": "preset", "presetId": "Maya"}}
    spoken = chosen("audio", speech).chosen
    assert spoken is not None
    assert spoken.body is not None
    assert spoken.body.sent()["voice"] == {"type": "runway-preset", "presetId": "Maya"}
    assert resolved("audio", speech, spoken) == {"type": "speech", "voice": "preset"}
    assert preferences(
        {"maxCreditsPerGeneration": {"video": 9}, "fallback": {"onCapacity": True}}, "video"
    ) == Preferences(ceiling=9, on_capacity=True)


VIDEO = st.fixed_dictionaries(
    {"promptText": st.text("ab ", min_size=1, max_size=60)},
    optional={
        "duration": st.integers(2, 30),
        "aspectRatio": st.sampled_from(["16:9", "9:16", "1:1", "4:3", "3:4", "21:9"]),
        "resolution": st.sampled_from(["480p", "720p", "1080p", "4k"]),
        "seed": st.integers(0, 2**32 - 1),
        "negativePrompt": st.just("rain"),
        "referenceImages": st.lists(
            st.builds(lambda role: {"uri": PICTURE, "role": role}, st.sampled_from(["first", "last", "reference"])),
            max_size=3,
            unique_by=lambda image: image["role"],
        ),
    },
)


@given(VIDEO, st.sampled_from(["cost", "latency", "quality"]))
@settings(max_examples=25)
def test_what_is_chosen_takes_what_was_asked(wanted: dict[str, Any], optimize_for: str) -> None:
    """The body holds every wish, in the model's own words; a wish that a model has no word for excludes it."""
    choice = chosen("video", wanted, optimize_for=optimize_for)
    if choice.chosen is None:
        assert choice.emptied_by in ("capability", "prompt_length", "input_support")
        return
    assert choice.chosen.body is not None
    sent = choice.chosen.body.sent()
    for member in ("promptText", "duration", "seed", "negativePrompt"):
        assert member not in wanted or sent[member] == wanted[member]
    given = [(i["uri"], i["role"]) for i in wanted.get("referenceImages", ()) if i["role"] != "reference"]
    assert [(i["uri"], i["position"]) for i in sent.get("promptImage", ())] == given
    assert bool(given) is (endpoint_of("video", wanted) == "image_to_video")
    if "aspectRatio" in wanted:
        across, down = (int(n) for n in wanted["aspectRatio"].split(":"))
        width, height = (int(n) for n in sent["ratio"].split(":"))
        assert width / height == pytest.approx(across / down, rel=0.07)
