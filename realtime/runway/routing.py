"""Which model a router chooses: every name of the API that this server answers to is a candidate, and its own body says
what it takes. Filters come one after another, then what is left is ranked. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any, get_args

from pydantic import Field, TypeAdapter, ValidationError

from .bodies import Body
from .generation_routes import ENDPOINTS
from .models import Catalogue
from .ordering import Mapper
from .sizes import size_of

FILTERS = ("capability", "prompt_length", "input_support", "allow_deny", "price")
PROVIDER = "worldstream"  # every name is answered by a model of this server
APART = ("robotics_v1", "gen3a_turbo", "gen4_aleph")  # only by name: a robot's, and names that are not in use any more
DEFAULTS = {"video": ("16:9", "720p"), "image": ("16:9", "1k"), "audio": ("", "")}
USUAL_SECONDS = (5, 10, 8, 4, 6)  # where nothing is said, the first that a model takes
_TIERS_PX = {  # of video, of pictures: pixels of one frame, from and below
    "480p": (250_000, 600_000), "720p": (600_000, 1_400_000), "1080p": (1_400_000, 4_000_000), "4k": (5_000_000, 1e12),
    "1k": (600_000, 1_600_000), "2k": (1_600_000, 6_000_000),
}  # fmt: skip
_SHAPE_SLACK = 0.06  # 1584:672 counts as 21:9
_INPUTS = ("promptImage", "references", "referenceImages", "keyframes", "videoUri", "promptVideo", "voice")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A name of the API at one endpoint, and what it would be sent."""

    name: str
    mapper: Mapper
    kind: type[Body]
    body: Body | None = None  # None where it would not take the request
    wrong: frozenset[str] = frozenset()  # filters that it does not pass
    credits: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """What came of it. `pipeline` is the story as the contract tells it."""

    chosen: Candidate | None
    pipeline: tuple[dict[str, Any], ...]
    emptied_by: str = ""
    reason: str = ""
    reason_code: str = ""
    skipped: tuple[str, ...] = ()
    all_exhausted: bool = False


@dataclass(frozen=True, slots=True)
class Preferences:
    """A router's settings, for one modality."""

    optimize_for: str = "cost"
    ceiling: int | None = None  # credits for one output
    mode: str = "allow_new_except"
    ids: frozenset[str] = field(default_factory=frozenset)
    on_capacity: bool = False

    def allows(self, name: str) -> bool:
        return (name in self.ids) is (self.mode == "allowlist_only")


def preferences(settings: Mapping[str, Any], modality: str) -> Preferences:
    """Of settings as they are kept."""
    models = settings.get("models") or {}
    return Preferences(
        settings.get("optimizeFor", "cost"),
        (settings.get("maxCreditsPerGeneration") or {}).get(modality),
        models.get("mode", "allow_new_except"),
        frozenset(models.get("ids", ())),
        bool((settings.get("fallback") or {}).get("onCapacity")),
    )


def names(catalogue: Catalogue) -> set[str]:
    """Every model that a router can be told of."""
    endpoints = ("text_to_video", "image_to_video", "video_to_video", "text_to_image", "text_to_speech", "sound_effect")
    found = {name for endpoint in endpoints for name, *_ in _classes(endpoint)}
    return found | {own for own, alias in catalogue.aliases.items() if alias.like in found}


def candidates(modality: str, wanted: Mapping[str, Any], catalogue: Catalogue) -> list[Candidate]:
    """All names, each with the body that it would be sent, in the order of the catalogue: Runway's own first."""
    found = []
    for name, kind, mapper in _classes(endpoint_of(modality, wanted)):
        members, wrong = _members(modality, kind, wanted)
        body = None
        if not wrong:
            body, wrong = _validated(kind, name, members)
        for known in (name, *(own for own, alias in catalogue.aliases.items() if alias.like == name)):
            credits = _credits(modality, known, members, catalogue)
            found.append(Candidate(known, mapper, kind, body, frozenset(wrong), credits))
    return found


def choose(
    found: Sequence[Candidate], wanted: Preferences, catalogue: Catalogue, full: Callable[[str], bool] = lambda _: False
) -> Choice:
    """Filter and rank. `full` says of a model whether all its places are taken."""
    left, story, emptied_by = list(found), list[dict[str, Any]](), ""
    for name in FILTERS:
        left = [c for c in left if _passes(c, name, wanted)]
        story.append({"type": "filter", "filter": name, "models": [c.name for c in left]})
        if not left:
            return Choice(None, tuple(story), name)
    ranked, outcome, reason, code = _ranked(left, wanted.optimize_for, catalogue)
    skipped: list[str] = []
    free = [c for c in ranked if not full(c.name)] if wanted.on_capacity else ranked
    exhausted = not free
    if free and free[0] is not ranked[0]:
        skipped = [c.name for c in ranked[: ranked.index(free[0])]]
    if wanted.on_capacity and (skipped or exhausted):
        story.append({"type": "capacity", "skipped": skipped, "allExhausted": exhausted})
    story.append({"type": "rank", "outcome": outcome})
    return Choice((free or ranked)[0], tuple(story), emptied_by, reason, code, tuple(skipped), exhausted)


def endpoint_of(modality: str, wanted: Mapping[str, Any]) -> str:
    """The endpoint that such a request belongs to."""
    if modality == "image":
        return "text_to_image"
    if modality == "audio":
        return "text_to_speech" if wanted["type"] == "speech" else "sound_effect"
    if any(video["role"] == "source" for video in wanted.get("referenceVideos", ())):
        return "video_to_video"
    images = wanted.get("referenceImages", ())
    return "image_to_video" if any(image["role"] in ("first", "last") for image in images) else "text_to_video"


def _classes(endpoint: str) -> Iterator[tuple[str, type[Body], Mapper]]:
    kinds, mapper = ENDPOINTS[endpoint]
    for kind in kinds:
        for name in get_args(kind.model_fields["model"].annotation):
            if name not in APART:
                yield name, kind, mapper


def _passes(candidate: Candidate, filter: str, wanted: Preferences) -> bool:
    if filter == "allow_deny":
        return wanted.allows(candidate.name)
    if filter == "price":
        return wanted.ceiling is None or candidate.credits <= wanted.ceiling
    return filter not in candidate.wrong


def _ranked(left: list[Candidate], optimize_for: str, catalogue: Catalogue) -> tuple[list[Candidate], str, str, str]:
    def draft(candidate: Candidate) -> bool:
        return catalogue.of(candidate.name).draft

    if optimize_for == "cost":
        ranked = sorted(left, key=lambda c: c.credits)
        told = ("cost", f"{ranked[0].credits} credits is the lowest price.", "lowest_cost")
    elif optimize_for == "latency":
        ranked = sorted(left, key=lambda c: not draft(c))
        quick = "It takes fewer denoising steps." if draft(ranked[0]) else "None of them is quicker than another."
        told = ("selected", quick, "best_latency")
    else:
        ranked = sorted(left, key=draft)
        told = ("selected", "It takes all denoising steps.", "best_quality")
    if len(left) == 1:
        told = ("single_candidate", "No other model takes this request.", "only_eligible_model")
    return ranked, told[0], told[1], told[2]


def _validated(kind: type[Body], name: str, members: Mapping[str, Any]) -> tuple[Body | None, set[str]]:
    """The body, or the filters that its mistakes belong to."""
    try:
        return kind.model_validate({"model": name, **members}), set()
    except ValidationError as error:
        return None, {_filter_of(dict(each)) for each in error.errors(include_url=False, include_context=False)}


def _filter_of(error: Mapping[str, Any]) -> str:
    member = error["loc"][0] if error["loc"] else ""
    if member == "promptText" and error["type"] != "missing":
        return "prompt_length"
    return "input_support" if member in _INPUTS else "capability"


def _credits(modality: str, name: str, members: Mapping[str, Any], catalogue: Catalogue) -> int:
    """Of one output, as the catalogue prices it."""
    kind = {"video": "clip", "image": "still", "audio": "sound"}[modality]
    text = str(members.get("promptText", "")) if modality == "audio" else ""
    seconds = members.get("duration", 0 if modality == "image" else USUAL_SECONDS[0])
    return catalogue.of(name, "edit" if {"videoUri", "promptVideo"} & set(members) else kind).cost(
        seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
        pictures=1 if modality == "image" else 0,
        characters=len(text),
    )


def _members(modality: str, kind: type[Body], wanted: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """What this model would be sent, and the filters that it does not pass already for want of a member."""
    made = {"video": _of_video, "image": _of_image, "audio": _of_audio}[modality](kind, wanted)
    wrong = {
        ("input_support" if name in _INPUTS or name.startswith("reference") else "capability")
        for name in made
        if name not in kind.model_fields
    }
    return made, wrong


def _of_video(kind: type[Body], wanted: Mapping[str, Any]) -> dict[str, Any]:
    fields = kind.model_fields
    found = {name: wanted[name] for name in ("promptText", "negativePrompt", "seed", "keyframes") if name in wanted}
    if "contentModeration" in wanted and "contentModeration" in fields:
        found["contentModeration"] = wanted["contentModeration"]
    if wanted.get("audio"):
        found["audio"] = True
    images = wanted.get("referenceImages", ())
    if edges := [{"uri": i["uri"], "position": i["role"]} for i in images if i["role"] != "reference"]:
        found["promptImage"] = edges
    if context := [{"uri": i["uri"]} for i in images if i["role"] == "reference"]:
        found["references"] = context
    for video in wanted.get("referenceVideos", ()):
        member = "promptVideo" if "promptVideo" in fields else "videoUri"
        found[member if video["role"] == "source" else "reference video"] = video["uri"]
    if wanted.get("referenceAudio"):
        found["reference audio"] = True  # no local model follows it
    edits = any(member in found for member in ("videoUri", "promptVideo"))
    if "duration" in wanted or ("duration" in fields and not edits):
        found["duration"] = wanted.get("duration") or _usual_seconds(kind)
    return found | _shape(kind, wanted, "video", edits)


def _of_image(kind: type[Body], wanted: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: wanted[name] for name in ("promptText", "seed") if name in wanted}
    if "contentModeration" in wanted and "contentModeration" in kind.model_fields:
        found["contentModeration"] = wanted["contentModeration"]
    if images := wanted.get("referenceImages"):
        found["referenceImages"] = [{"uri": image["uri"]} for image in images]
    if wanted.get("outputCount", 1) != 1 or ("outputCount" in wanted and "outputCount" in kind.model_fields):
        found["outputCount"] = wanted["outputCount"]
    return found | _shape(kind, wanted, "image")


def _of_audio(kind: type[Body], wanted: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"promptText": wanted["promptText"]}
    found |= {name: wanted[name] for name in ("duration", "loop") if name in wanted}
    if wanted.get("loop") is False and "loop" not in kind.model_fields:
        del found["loop"]
    if voice := wanted.get("voice"):
        preset = voice["type"] == "preset"
        found["voice"] = {**voice, "type": "runway-preset"} if preset else dict(voice)
    if sounds := wanted.get("referenceAudios"):
        found["referenceAudios"] = [sound["uri"] for sound in sounds]
    if "duration" in kind.model_fields and kind.model_fields["duration"].is_required() and "duration" not in found:
        found["duration"] = 5
    return found


@lru_cache(maxsize=256)
def _usual_seconds(kind: type[Body]) -> int:
    """The first usual length that this model takes."""
    duration = kind.model_fields["duration"]
    lengths: Any = Annotated[duration.annotation, Field(), *duration.metadata]
    takes: TypeAdapter[Any] = TypeAdapter(lengths, config={"strict": True})
    for seconds in USUAL_SECONDS:
        try:
            takes.validate_python(seconds)
        except ValidationError:
            continue
        return seconds
    return USUAL_SECONDS[0]


def _shape(kind: type[Body], wanted: Mapping[str, Any], modality: str, edits: bool = False) -> dict[str, Any]:
    """`ratio`, or `targetAspectRatio`, and `resolution` of a model for the shape and the tier that are wanted."""
    fields = kind.model_fields
    asked = "aspectRatio" in wanted or "resolution" in wanted
    aspect, tier = (
        wanted.get(n, usual) for n, usual in zip(("aspectRatio", "resolution"), DEFAULTS[modality], strict=True)
    )
    if "targetAspectRatio" in fields:
        found = {"targetAspectRatio": aspect} if "aspectRatio" in wanted else {}
        return found | ({"this resolution": tier} if "resolution" in wanted else {})
    if "ratio" not in fields:
        return {"ratio": aspect} if asked else {}
    if edits and not asked:
        return {"ratio": values_of(fields["ratio"].annotation)[0]} if fields["ratio"].is_required() else {}
    for value in values_of(fields["ratio"].annotation):
        if _fits(value, aspect, tier, "resolution" in fields):
            resolution = {"resolution": tier} if "resolution" in fields and "resolution" in wanted else {}
            return {"ratio": value} | resolution
    return {"no such ratio": aspect}


def values_of(annotation: Any) -> list[str]:
    """The texts that an annotation names, however deep its literals lie."""
    found: list[str] = []
    for part in get_args(annotation):
        found += [part] if isinstance(part, str) else values_of(part)
    return found


def _fits(value: str, aspect: str, tier: str, has_tiers: bool) -> bool:
    """Whether a ratio is of this shape and, where it is one of pixels, of this tier."""
    if ":" not in value:
        return False
    width, height = (int(part) for part in value.split(":"))
    across, down = (int(part) for part in aspect.split(":"))
    if abs(math.log(width * down / (height * across))) > _SHAPE_SLACK:
        return False
    if min(width, height) < 100:  # a shape, not pixels
        return has_tiers or tier in ("720p", "1k")
    least, below = _TIERS_PX[tier]
    return least <= width * height < below


def resolved(modality: str, wanted: Mapping[str, Any], chosen: Candidate) -> dict[str, Any]:
    """`resolvedInput` of the reply: what was asked for, and what stood in where nothing was."""
    aspect, tier = (
        wanted.get(n, usual) for n, usual in zip(("aspectRatio", "resolution"), DEFAULTS[modality], strict=True)
    )
    sent = chosen.body.sent() if chosen.body is not None else {}
    if modality == "audio":
        speech = "default" if wanted["type"] == "speech" else "none"
        return {"type": wanted["type"], "voice": wanted.get("voice", {}).get("type", speech)}
    ratio = sent.get("ratio") or "{}:{}".format(*size_of(aspect, tier))
    if modality == "image":
        return {"ratio": ratio, "aspectRatio": aspect, "resolution": tier}
    seconds = sent.get("duration", wanted.get("duration", USUAL_SECONDS[0]))
    return {
        "duration": seconds if isinstance(seconds, int | float) else USUAL_SECONDS[0],
        "ratio": ratio,
        "resolution": tier,
    }
