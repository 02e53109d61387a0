"""Bodies of Runway's own models, present and past, with the rules that join several members."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from .bodies import (
    AUD,
    FLAG,
    IMG,
    SEED,
    UUID,
    VID,
    Body,
    ContentModeration,
    by_member,
    custom,
    many,
    number,
    one_of,
    option,
    whole,
    words,
)
from .parts import (
    EdgeImage,
    FirstImage,
    KeyframeAtFraction,
    KeyframeAtSeconds,
    PresetVoice,
    TaggedImage,
    prompt_image,
)
from .value_sets import AVATARS, F1, LANGUAGES, LIVE_VOICES, P1, R6, R16

# members have types that functions make
# mypy: disable-error-code="valid-type"
# pyright: reportInvalidTypeForm=false

_PROMPT = words(1000)
_SECONDS = whole(2, 10)
_R6, _R16, _F1, _P1 = one_of(*R6), one_of(*R16), one_of(*F1), one_of(*P1)
_FIRST = prompt_image(FirstImage, 1)
_ALEPH_RATIOS = one_of("1280:720", "720:1280", "1104:832", "960:960", "832:1104", "1584:672", "848:480", "640:480")


class Formatted(Body):
    """A profile belongs to a format that has one."""

    outputFormat: _F1 = option()
    proresProfile: _P1 = option()

    @model_validator(mode="after")
    def profile_fits(self) -> Formatted:
        profile, video_format = cast(str | None, self.proresProfile), cast(str | None, self.outputFormat)
        if profile is not None:
            if video_format not in ("prores", "hdr_prores"):
                raise PydanticCustomError("custom", "proresProfile is only valid with a ProRes outputFormat")
            if video_format == "hdr_prores" and profile not in ("422", "422 HQ", "4444"):
                raise PydanticCustomError("custom", "with hdr_prores, proresProfile is one of 422, 422 HQ, 4444")
        return self


class TextToVideo(Formatted):
    model: Literal["gen4.5"]
    promptText: _PROMPT
    ratio: one_of("1280:720", "720:1280")
    duration: _SECONDS
    seed: SEED = option()
    contentModeration: ContentModeration = option()


class ImageToVideo(Formatted):
    model: Literal["gen4.5"]
    promptText: _PROMPT
    promptImage: _FIRST
    ratio: _R6
    duration: _SECONDS
    seed: SEED = option()
    contentModeration: ContentModeration = option()


class ImageToVideoTurbo(Body):
    model: Literal["gen4_turbo"]
    promptImage: _FIRST
    ratio: _R6
    promptText: _PROMPT = option()
    duration: _SECONDS = option()
    seed: SEED = option()
    contentModeration: ContentModeration = option()


class ImageToVideoThree(Body):
    model: Literal["gen3a_turbo"]
    promptImage: prompt_image(EdgeImage, 2)
    promptText: words(512) = option()
    ratio: one_of("1280:768", "768:1280") = option()
    duration: one_of(5, 10) = option()
    seed: SEED = option()
    contentModeration: ContentModeration = option()


class ImageToVideoRobotics(Body):
    model: Literal["robotics_v1"]
    promptImage: _FIRST
    ratio: _R6
    duration: _SECONDS = option()
    promptText: _PROMPT = option()
    seed: SEED = option()


def _ranges(keyframes: list[Any]) -> str:
    ranges = [k.range for k in keyframes if k.range is not None]
    if ranges and len(ranges) < len(keyframes):
        return "either every keyframe has a range or none has"
    for keyframe in keyframes:
        if keyframe.range is not None and keyframe.range.end_seconds <= keyframe.range.start_seconds:
            return "a range must end after it starts"
        at_s = getattr(keyframe, "seconds", None)
        span = keyframe.range
        if span is not None and at_s is not None and not span.start_seconds <= at_s < span.end_seconds:
            return "the moment of a keyframe must lie within its range"
    return ""


_KEYFRAMES = many(by_member(("seconds", KeyframeAtSeconds), ("at", KeyframeAtFraction)), 5, 1)


class VideoToVideo(Formatted):
    model: Literal["aleph2"]
    videoUri: VID
    promptText: _PROMPT = option()
    keyframes: Annotated[_KEYFRAMES, custom(_ranges)] = option()
    promptImage: _FIRST = option()  # of older clients: what is now a keyframe at 0
    seed: SEED = option()
    targetAspectRatio: one_of("16:9", "4:3", "3:2", "1:1", "2:3", "3:4", "9:16", "21:9") = option()
    ratio: Annotated[str, Field(max_length=100)] = option()
    outputFormat: one_of("mp4", "prores", "png_sequence", "sdr_rec709_10bit") = option()
    contentModeration: ContentModeration = option()


class ImageReference(Body):
    type: Literal["image"]
    uri: IMG


class VideoToVideoAleph(Body):
    model: Literal["gen4_aleph"]
    videoUri: VID
    promptText: _PROMPT
    ratio: _ALEPH_RATIOS = option()
    references: many(ImageReference, 1) = option()
    seed: SEED = option()
    contentModeration: ContentModeration = option()


class VideoToVideoRobotics(Body):
    model: Literal["robotics_v1"]
    videoUri: VID
    promptText: _PROMPT
    ratio: _ALEPH_RATIOS
    references: many(ImageReference, 1) = option()
    seed: SEED = option()


class TextToImage(Body):
    model: Literal["gen4_image"]
    promptText: _PROMPT
    ratio: _R16
    referenceImages: many(TaggedImage, 3) = option()
    seed: SEED = option()
    contentModeration: ContentModeration = option()


class TextToImageTurbo(Body):
    model: Literal["gen4_image_turbo"]
    promptText: _PROMPT
    ratio: _R16
    referenceImages: many(TaggedImage, 3, 1)
    seed: SEED = option()
    contentModeration: ContentModeration = option()


class CharacterOfPicture(Body):
    type: Literal["image"]
    uri: IMG


class CharacterOfVideo(Body):
    type: Literal["video"]
    uri: VID


class CharacterPerformance(Body):
    model: Literal["act_two"]
    character: Annotated[CharacterOfPicture | CharacterOfVideo, Field(discriminator="type")]
    reference: CharacterOfVideo
    ratio: _R6 = option()
    bodyControl: FLAG = option()
    expressionIntensity: whole(1, 5) = option()
    seed: SEED = option()
    contentModeration: ContentModeration = option()


class VideoToHdr(Body):
    model: Literal["ruby"]
    videoUri: VID
    outputFormat: one_of(
        "hdr10",
        "hlg",
        "hdr_prores",
        "hdr_exr_sequence",
        "hdr_exr_acescg_sequence_1_3",
        "hdr_exr_acescg_sequence_2_0",
    ) = option()
    proresProfile: one_of("422", "4444", "422 HQ") = option()

    @model_validator(mode="after")
    def profile_fits(self) -> VideoToHdr:
        if self.proresProfile is not None and self.outputFormat != "hdr_prores":
            raise PydanticCustomError("custom", "proresProfile is only valid when outputFormat is hdr_prores")
        return self


class FrameRate(Body):
    model: Literal["enhance_frame_rate"]
    videoUri: VID
    targetFramerate: one_of("24", "25", "30", "48", "50", "60", "120", "23_98", "29_97", "59_94")


class VideoUpscale(Body):
    model: Literal["upscale_v1"]
    videoUri: VID


class SoundMedia(Body):
    type: Literal["audio"]
    uri: AUD


class FilmMedia(Body):
    type: Literal["video"]
    uri: VID


class SpeechToSpeech(Body):
    model: Literal["eleven_multilingual_sts_v2"]
    media: Annotated[SoundMedia | FilmMedia, Field(discriminator="type")]
    voice: PresetVoice
    removeBackgroundNoise: FLAG = option()


class VoiceDubbing(Body):
    model: Literal["eleven_voice_dubbing"]
    audioUri: AUD
    targetLang: one_of(*LANGUAGES)
    disableVoiceCloning: FLAG = option()
    dropBackgroundAudio: FLAG = option()
    numSpeakers: whole(1, 32) = option()


class VoiceIsolation(Body):
    model: Literal["eleven_voice_isolation"]
    audioUri: AUD


class PresetAvatar(Body):
    type: Literal["runway-preset"]
    presetId: one_of(*AVATARS)


class CustomAvatar(Body):
    type: Literal["custom"]
    avatarId: UUID


class LiveVoice(Body):
    type: Literal["preset"]
    presetId: one_of(*LIVE_VOICES)


class CustomVoice(Body):
    type: Literal["custom"]
    id: UUID


class SpokenAudio(Body):
    type: Literal["audio"]
    audio: AUD


class SpokenText(Body):
    type: Literal["text"]
    text: words(5000)
    voice: Annotated[LiveVoice | CustomVoice, Field(discriminator="type")] = option()


class AvatarVideo(Body):
    model: Literal["gwm1_avatars"]
    avatar: Annotated[PresetAvatar | CustomAvatar, Field(discriminator="type")]
    speech: Annotated[SpokenAudio | SpokenText, Field(discriminator="type")]


class RobotAction(Body):
    """17 actions after a first picture are 18 rows, 17 after 17 known frames are 34."""

    model: Literal["robotics_v1"]
    robotAction: many(many(number(), 7, 7), 34, 1)
    promptImage: IMG = option()
    contextVideoUri: VID = option()
    seed: SEED = option()

    @model_validator(mode="after")
    def one_view(self) -> RobotAction:
        if (self.promptImage is None) == (self.contextVideoUri is None):
            raise PydanticCustomError("custom", "give either promptImage or contextVideoUri")
        return self
