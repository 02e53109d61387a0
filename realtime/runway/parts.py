"""Objects that many bodies share: references, keyframes, voices, prompts of several shots."""

from __future__ import annotations

from typing import Any, Literal

from .bodies import AUD, FLAG, IMG, TAG, VID, Body, many, number, one_of, option, string_or_list, whole, words
from .value_sets import VOICES

# members have types that functions make
# mypy: disable-error-code="valid-type"
# pyright: reportInvalidTypeForm=false


class ImageRef(Body):
    uri: IMG


class TaggedImage(Body):
    uri: IMG
    tag: TAG = option()


class NamedImage(Body):  # as other makers take it: any tag of 3 to 16 characters
    uri: IMG
    tag: words(16, 3) = option()


class SubjectImage(NamedImage):
    subject: Literal["object", "human"] = option()


class AudioRef(Body):
    type: Literal["audio"]
    uri: AUD


class VideoRef(Body):
    type: Literal["video"]
    uri: VID


class BareVideoRef(Body):
    uri: VID


class FirstImage(Body):
    uri: IMG
    position: Literal["first"]


class EdgeImage(Body):
    uri: IMG
    position: Literal["first", "last"]


class AnyImage(Body):
    uri: IMG
    position: Literal["first", "last"] = option()


class StoryImage(Body):
    uri: IMG
    position: Literal["first", "middle", "last"] = option()


class Shot(Body):
    duration: whole(1, 60)
    prompt: words()


class Shots(Body):
    multiPrompt: many(Shot, 20) = option()
    shotType: Literal["intelligence", "customize"] = option()


class ShotsOfVideo(Shots):
    keepOriginalSound: FLAG = option()


class PresetVoice(Body):
    type: Literal["runway-preset"]
    presetId: one_of(*VOICES)


class VoiceOfRecording(Body):
    type: Literal["reference-audio"]
    audioUri: AUD


class Range(Body):
    start_seconds: whole(0)
    end_seconds: whole(1)


class KeyframeAtSeconds(Body):
    uri: IMG
    seconds: number(0, 30)
    range: Range = option()


class KeyframeAtFraction(Body):
    uri: IMG
    at: number(0, 1)
    range: Range = option()


def prompt_image(item: Any, most: int) -> Any:
    """One picture, or a list of up to so many with their places."""
    return string_or_list(IMG, many(item, most, 1))
