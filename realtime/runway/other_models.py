"""Models of other makers that the same endpoints accept, as data: endpoint -> names -> (required, optional members).

The names are aliases here: a local model answers, see `models.py`. What is measured and allowed is each maker's own.
Members and values were checked against the types of the official Python SDK 5.24.0, see the tests.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from . import value_sets as sets
from .bodies import AUD, FLAG, IMG, SEED, VID, Body, many, number, one_of, option, string_or_list, whole, words
from .parts import (
    AnyImage,
    AudioRef,
    BareVideoRef,
    EdgeImage,
    FirstImage,
    ImageRef,
    NamedImage,
    PresetVoice,
    Shots,
    ShotsOfVideo,
    StoryImage,
    SubjectImage,
    VideoRef,
    VoiceOfRecording,
    prompt_image,
)

Members = dict[str, Any]
_HD = one_of("1280:720", "720:1280", "1080:1920", "1920:1080")
_LANDSCAPE_OR_PORTRAIT = one_of("1280:720", "720:1280")
_4K = one_of("3840:2160", "2160:3840", "2880:2880")
_PRO = one_of("1920:1080", "1080:1920", "1440:1440")
_STANDARD = one_of("1280:720", "720:1280", "960:960")
_WORDS, _COUNT, _NUMBER = words(20_000), whole(1, 60), number()
_SECONDS_OR_AUTO = Literal["auto"] | whole(1, 60)
_IMAGES, _TAGGED = many(ImageRef, 16), many(NamedImage, 16)
_FIRST, _EDGES = prompt_image(FirstImage, 1), prompt_image(EdgeImage, 2)
_KLING_REFERENCES = string_or_list(IMG, many(AnyImage, 4))
_PERCENT = whole(0, 100)
_RATES = one_of(8000, 16000, 24000, 32000, 44100, 48000)
_QUALITY_5 = one_of("low", "medium", "high", "xhigh", "max")
_MODE = one_of("reference", "extend", "edit")


def _kling(ratio: Any, cfg: bool = False) -> Members:
    found = {"audio": FLAG, "duration": _COUNT, "promptText": _WORDS, "providerSettings": Shots}
    return found | ({"ratio": ratio} if ratio else {}) | ({"cfgScale": _NUMBER} if cfg else {})


def _seedance(ratio: Any, longest: int = 15, most: int = 3500) -> Members:
    seconds = Literal["auto"] | whole(4, longest)
    return {"promptText": words(most), "audio": FLAG, "duration": seconds, "ratio": ratio, "seed": SEED}


def _references(images: int, videos: int, sounds: int) -> Members:
    found: Members = {"references": many(ImageRef, images)} if images else {}
    found |= {"referenceVideos": many(VideoRef, videos)} if videos else {}
    return found | ({"referenceAudio": many(AudioRef, sounds)} if sounds else {})


def _hailuo(images: int, videos: int) -> Members:
    shared = {"resolution": one_of("768p", "2k", "768P", "2K"), "duration": whole(5, 15), "ratio": one_of(*sets.S1)}
    return shared | _references(images, videos, 3)


_S3, _S4, _S6, _S7, _S8 = (one_of(*values) for values in (sets.S3, sets.S4, sets.S6, sets.S7, sets.S8))
_HAILUO_WORDS = {"promptText": words(6000)}
_WAN = {"audio": FLAG, "duration": _COUNT, "ratio": _S6}
_H3 = {
    "duration": _COUNT,
    "promptExpansionMode": one_of("disabled", "balanced", "quality"),
    "resolution": one_of("480p", "768p"),
    "seed": SEED,
}
_DRAFT = {"draft": FLAG, "outputFormat": one_of("mp4", "mov")}
_VEO = {"audio": FLAG, "negativePrompt": words(1000), "duration": one_of(4, 6, 8), "seed": SEED}
_GROK = {"duration": _COUNT, "resolution": one_of("480p", "720p", "1080p")}

TEXT_TO_VIDEO: dict[str, tuple[Members, Members]] = {
    "veo3.1 veo3.1_fast veo3": ({"promptText": words(1000), "ratio": _HD}, _VEO),
    "klingO3_4k": ({"ratio": _4K}, _kling(None)),
    "kling3.0_4k": ({"ratio": _4K}, _kling(None, cfg=True)),
    "klingO3_pro": ({"ratio": _PRO}, _kling(None)),
    "kling3.0_pro": ({"ratio": _PRO}, _kling(None, cfg=True)),
    "klingO3_standard": ({"ratio": _STANDARD}, _kling(None)),
    "kling3.0_standard": ({"ratio": _STANDARD}, _kling(None, cfg=True)),
    "kling2.5_turbo_pro": (
        {"promptText": _WORDS},
        {
            "cfgScale": _NUMBER,
            "duration": one_of(5, 10),
            "ratio": one_of("1920:1080", "1440:1440", "1080:1920", "1280:720", "720:720", "720:1280"),
        },
    ),
    "kling_4": (
        {"promptText": _WORDS},
        {
            "duration": _COUNT,
            "ratio": one_of(*sets.S10),
            "references": _IMAGES,
            "referenceVideos": many(BareVideoRef, 5),
        },
    ),
    "hailuo3": (_HAILUO_WORDS, _hailuo(9, 3)),
    "happyhorse_1_0": ({"promptText": words(2500, 2)}, {"duration": whole(3, 15), "ratio": one_of(*sets.S2)}),
    "seedance2": ({"promptText": words(3500)}, _seedance(_S3) | _references(9, 3, 3)),
    "seedance2_fast seedance2_mini": ({"promptText": words(3500)}, _seedance(_S4) | _references(9, 3, 3)),
    "seedance2_5": ({}, _seedance(_S8, 30, 15_000) | _references(30, 10, 10) | _DRAFT | {"draftTaskId": words(100)}),
    "gemini_omni_flash": ({"promptText": words(4000)}, {"ratio": _LANDSCAPE_OR_PORTRAIT, "duration": whole(3, 10)}),
    "gemini_omni_flash_1.1": (
        {"promptText": _WORDS},
        {"duration": _SECONDS_OR_AUTO, "ratio": _S7, "references": _IMAGES, "referenceVideos": many(BareVideoRef, 10)},
    ),
    "grok_imagine_1_5": ({"promptText": _WORDS}, _GROK | {"ratio": one_of(*sets.S5)} | _references(16, 0, 10)),
    "grok_imagine_1_5_lite": ({"promptText": _WORDS}, {"duration": _COUNT, "ratio": one_of(*sets.S9)}),
    "wan3 wan3_prime": ({"promptText": _WORDS}, _WAN | _references(16, 10, 10)),
    "h3_max": ({"promptText": _WORDS}, _H3),
}
IMAGE_TO_VIDEO: dict[str, tuple[Members, Members]] = {
    "veo3.1 veo3.1_fast veo3": ({"promptImage": _EDGES, "ratio": _HD}, _VEO | {"promptText": words(1000)}),
    "klingO3_4k": ({"promptImage": _EDGES}, _kling(_4K) | {"references": _KLING_REFERENCES}),
    "kling3.0_4k": ({"promptImage": _EDGES}, _kling(_4K, cfg=True)),
    "klingO3_pro": ({"promptImage": _EDGES}, _kling(_PRO) | {"references": _KLING_REFERENCES}),
    "kling3.0_pro": ({"promptImage": _EDGES}, _kling(_PRO, cfg=True)),
    "klingO3_standard": ({"promptImage": _EDGES}, _kling(_STANDARD) | {"references": _KLING_REFERENCES}),
    "kling3.0_standard": ({"promptImage": _EDGES}, _kling(_STANDARD, cfg=True)),
    "kling2.5_turbo_pro": (
        {"promptImage": _EDGES, "promptText": _WORDS},
        {"cfgScale": _NUMBER, "duration": one_of(5, 10)},
    ),
    "kling_4": (
        {"promptImage": prompt_image(StoryImage, 10)},
        {
            "duration": _COUNT,
            "promptText": _WORDS,
            "ratio": one_of("auto_720p", "auto_1080p"),
            "references": _IMAGES,
            "referenceVideos": many(BareVideoRef, 5),
        },
    ),
    "hailuo3": ({"promptImage": prompt_image(AnyImage, 9)} | _HAILUO_WORDS, _hailuo(0, 0)),
    "happyhorse_1_0": (
        {"promptImage": _FIRST},
        {
            "promptText": words(2500, 2),
            "resolution": one_of("720p", "1080p", "720P", "1080P"),
            "duration": whole(3, 15),
        },
    ),
    "seedance2": ({"promptImage": prompt_image(AnyImage, 9)}, _seedance(_S3) | _references(0, 0, 3)),
    "seedance2_fast seedance2_mini": (
        {"promptImage": prompt_image(AnyImage, 9)},
        _seedance(_S4) | _references(0, 0, 3),
    ),
    "seedance2_5": (
        {"promptImage": prompt_image(AnyImage, 30)},
        _seedance(_S8, 30, 15_000) | _references(0, 0, 10) | _DRAFT,
    ),
    "gemini_omni_flash": (
        {"promptImage": _FIRST},
        {"promptText": words(4000), "ratio": _LANDSCAPE_OR_PORTRAIT, "duration": whole(3, 10)},
    ),
    "gemini_omni_flash_1.1": (
        {"promptImage": _EDGES, "promptText": _WORDS},
        {"duration": _SECONDS_OR_AUTO, "ratio": _S7},
    ),
    "grok_imagine_1_5": ({"promptImage": _FIRST}, _GROK | {"promptText": _WORDS}),
    "grok_imagine_1_5_lite": (
        {"promptImage": _FIRST},
        {"duration": _COUNT, "promptText": _WORDS, "ratio": one_of("auto_480p", "auto_720p", "auto_1080p")},
    ),
    "wan3 wan3_prime": (
        {"promptImage": prompt_image(AnyImage, 16), "promptText": _WORDS},
        _WAN | _references(0, 10, 10),
    ),
    "h3_max": ({"promptImage": _EDGES, "promptText": _WORDS}, _H3),
}
_KLING_EDIT = (
    {"promptText": _WORDS, "promptVideo": VID},
    {"providerSettings": ShotsOfVideo, "references": _KLING_REFERENCES},
)
VIDEO_TO_VIDEO: dict[str, tuple[Members, Members]] = {
    "klingO3_4k klingO3_pro klingO3_standard": _KLING_EDIT,
    "kling_4": (
        {"promptText": _WORDS, "videoUri": VID},
        {"ratio": one_of("auto_720p", "auto_1080p"), "references": _IMAGES},
    ),
    "hailuo3": ({"promptVideo": VID} | _HAILUO_WORDS, _hailuo(9, 2)),
    "seedance2": ({"promptVideo": VID}, _seedance(_S3) | _references(9, 3, 3)),
    "seedance2_fast seedance2_mini": ({"promptVideo": VID}, _seedance(_S4) | _references(9, 3, 3)),
    "seedance2_5": (
        {"promptVideo": VID},
        _seedance(_S8, 30, 15_000) | _references(30, 9, 10) | _DRAFT | {"mode": _MODE},
    ),
    "gemini_omni_flash": ({"videoUri": VID, "promptText": words(4000)}, {"references": many(ImageRef, 5)}),
    "gemini_omni_flash_1.1": (
        {"videoUri": VID, "promptText": _WORDS},
        {"duration": _SECONDS_OR_AUTO, "mode": _MODE, "ratio": _S7, "references": _IMAGES},
    ),
}


def _image(words_: Any, ratio: tuple[str, ...], more: Members) -> tuple[Members, Members]:
    return {"promptText": words_, "ratio": one_of(*ratio)}, more


def _pictures(*formats: str, most: int = 16, count: Any = None) -> Members:
    found: Members = {"outputFormat": one_of(*formats)} if formats else {}
    found |= {"referenceImages": many(ImageRef, most)} if most else {}
    return found | ({"outputCount": count} if count else {})


_1_TO_10, _1_OR_4, _GROUNDING = whole(1, 10), one_of(1, 4), {"grounding": FLAG}
_SUBJECTS = {"referenceImages": many(SubjectImage, 14), "outputCount": _1_OR_4}
_GPT = {"referenceImages": _TAGGED, "outputCount": _1_TO_10}
_FREE_SIZE = Annotated[str, Field(pattern=r"^[1-9]\d{2,4}:[1-9]\d{2,4}$")]  # its maker takes any of 3.7 to 16.8 MP
TEXT_TO_IMAGE: dict[str, tuple[Members, Members]] = {
    "gpt_image_2": _image(
        words(32_000),
        sets.S11,
        _GPT
        | {"quality": one_of("low", "medium", "high", "auto"), "background": one_of("transparent", "opaque", "auto")},
    ),
    "gpt_image_2_5_flare": _image(
        _WORDS, sets.S11, _GPT | {"quality": _QUALITY_5, "background": one_of("opaque", "auto")}
    ),
    "gpt_image_2_5_sunburst": _image(
        _WORDS, sets.S11, _GPT | {"quality": _QUALITY_5, "background": one_of("transparent", "opaque", "auto")}
    ),
    "gemini_image3.1_flash": _image(words(5500), sets.S12, _SUBJECTS),
    "gemini_image3_pro": _image(words(5500), sets.S18, _SUBJECTS),
    "gemini_image3.1_flash_lite": _image(_WORDS, sets.S17, _SUBJECTS),
    "gemini_2.5_flash": _image(words(5500), sets.S26, {"referenceImages": many(NamedImage, 3)}),
    "nano_banana_2.1": _image(_WORDS, sets.S24, _GPT | {"thinkingLevel": one_of("minimal", "medium", "high")}),
    "muse_image": _image(_WORDS, sets.S13, _pictures("webp", "png", "jpeg", count=_1_TO_10)),
    "seedream5_pro": _image(words(4000), sets.S14, _pictures("png", "jpeg", most=10, count=whole(1, 4)) | _GROUNDING),
    "seedream5_lite": (
        {"promptText": words(4000), "ratio": one_of(*sets.S15) | _FREE_SIZE},
        _pictures("png", "jpeg", most=14, count=whole(1, 4)) | _GROUNDING,
    ),
    "seedream5_flash": _image(_WORDS, sets.S23, _pictures("png", "jpeg", count=_1_TO_10)),
    "grok_imagine_image_2": _image(
        _WORDS, sets.S16, _pictures(count=_1_TO_10) | {"edit": FLAG, "quality": one_of("low", "medium")}
    ),
    "bria_fibo_1_5": _image(_WORDS, sets.S19, _pictures("png", "jpeg") | {"seed": SEED}),
    "bria_fibo_edit_1_5": (
        {"promptText": _WORDS},
        _pictures("png", "jpeg") | {"ratio": one_of(*sets.S20), "seed": SEED},
    ),
    "ideogram_4_0": (
        {"promptText": _WORDS},
        _pictures(count=_1_TO_10) | {"ratio": one_of(*sets.S21), "quality": one_of("low", "medium", "high")},
    ),
    "ideogram_4_5": (
        {"promptText": _WORDS},
        _pictures(count=_1_TO_10)
        | {
            "ratio": one_of(*sets.S22),
            "quality": one_of("very_low", "low", "medium", "high"),
            "maskUri": IMG,
            "preciseEdit": FLAG,
        },
    ),
    "recraft_v4_1_flash": _image(
        _WORDS,
        sets.S25,
        _pictures("webp", "png", most=0, count=_1_TO_10)
        | {"backgroundColor": words(40), "colors": many(words(40), 16), "seed": SEED},
    ),
    "recraft_v4_1_vector": (
        {"promptText": _WORDS},
        {
            "backgroundColor": words(40),
            "colors": many(words(40), 16),
            "ratio": one_of("1024:1024", "1216:896", "896:1216", "1344:768", "768:1344"),
        },
    ),
}
IMAGE_UPSCALE: dict[str, tuple[Members, Members]] = {
    "magnific_precision_upscaler_v2": (
        {"imageUri": IMG},
        {
            "scaleFactor": one_of(2, 4, 8, 16),
            "sharpen": _PERCENT,
            "smartGrain": _PERCENT,
            "ultraDetail": _PERCENT,
            "flavor": one_of("sublime", "photo", "photo_denoiser"),
        },
    ),
}
VIDEO_UPSCALE: dict[str, tuple[Members, Members]] = {
    "magnific_video_upscaler_creative": (
        {"videoUri": VID},
        {
            "resolution": one_of("720p", "1k", "2k", "4k"),
            "creativity": _PERCENT,
            "sharpen": _PERCENT,
            "smartGrain": _PERCENT,
            "flavor": one_of("vivid", "natural"),
            "fpsBoost": FLAG,
        },
    ),
}
_MIRELO = {
    "format": one_of("mp3", "wav", "flac"),
    "negativePrompt": words(1000),
    "numVariants": whole(1, 4),
    "seed": SEED,
}
_SEED_AUDIO = {
    "speechRate": whole(-50, 100),
    "loudnessRate": whole(-50, 100),
    "pitchRate": whole(-12, 12),
    "sampleRate": _RATES,
    "outputFormat": one_of("wav", "mp3", "ogg_opus"),
}
VIDEO_TO_AUDIO: dict[str, tuple[Members, Members]] = {
    "mirelo_sfx_2_0": (
        {"duration": number(0.5, 180), "videoUri": VID},
        _MIRELO | {"preserveSpeech": FLAG, "promptText": words(5000)},
    ),
}
_ELEVEN = {
    "stability": number(0, 1),
    "similarityBoost": number(0, 1),
    "style": number(0, 1),
    "speed": number(0.7, 1.2),
    "useSpeakerBoost": FLAG,
    "languageCode": words(5, 2),
    "seed": SEED,
}
TEXT_TO_SPEECH: dict[str, tuple[Members, Members]] = {
    "eleven_multilingual_v2": ({"promptText": words(1000), "voice": PresetVoice}, {}),
    "eleven_v3": (
        {"promptText": words(5000), "voice": PresetVoice},
        _ELEVEN | {"applyTextNormalization": one_of("auto", "on", "off")},
    ),
    "eleven_v4": (
        {"promptText": words(5000), "voice": PresetVoice},
        _ELEVEN | {"nextText": words(5000), "previousText": words(5000)},
    ),
    "seed_audio": ({"promptText": words(2048)}, _SEED_AUDIO | {"voice": VoiceOfRecording}),
}
SOUND_EFFECT: dict[str, tuple[Members, Members]] = {
    "eleven_text_to_sound_v2": ({"promptText": words(3000)}, {"duration": number(0.5, 30), "loop": FLAG}),
    "mirelo_sfx_2_0": ({"duration": number(0.5, 180), "promptText": words(5000)}, _MIRELO),
    "seed_audio": ({"promptText": words(2048)}, _SEED_AUDIO | {"referenceAudios": many(AUD, 3)}),
}


def classes(endpoint: str, table: dict[str, tuple[Members, Members]]) -> list[type[Body]]:
    """A body class for each row; `endpoint` goes into its name, e.g. TextToVideo."""
    return [_class(endpoint, names.split(), required, more) for names, (required, more) in table.items()]


def _class(endpoint: str, names: list[str], required: Members, more: Members) -> type[Body]:
    annotations: dict[str, Any] = {"model": Literal[tuple(names)], **more, **required}
    members: dict[str, Any] = {"__annotations__": annotations, "__module__": __name__}
    members |= {name: option() for name in more if name not in required}
    title = "".join(c if c.isalnum() else "_" for c in names[0])
    return type(f"{endpoint}_{title}", (Body,), members)
