"""What the bodies of the sound endpoints mean to the jobs of this machine."""

from __future__ import annotations

from .bodies import utf16
from .ordering import Order

USUAL_EFFECT_SECONDS = 5.0


async def speech(order: Order) -> None:
    """text_to_speech."""
    order.kind = "speech"
    order.refuse_if_absent()
    voice = order.take("voice") or {}
    if voice.get("type") == "reference-audio":
        await order.gather("reference", voice["audioUri"], "audio", "voice", "audioUri")
    text = order.take("promptText")
    named = "reference" if "reference" in order.inputs else voice.get("presetId")
    order.put(text=text, voice=named, language=order.take("languageCode"))
    _manner(order)
    order.credits = order.alias.cost(characters=utf16(text))


def _manner(order: Order) -> None:
    """How fast, high and loud, as factors and semitones; which rate, format and seed."""
    rate, loudness = order.take("speechRate"), order.take("loudnessRate")
    order.put(speed=order.take("speed") if rate is None else 1 + rate / 100)
    order.put(volume=None if loudness is None else 1 + loudness / 100, pitch=order.take("pitchRate"))
    sound_format = order.take("outputFormat") or order.take("format")
    order.put(rate_hz=order.take("sampleRate"), format=sound_format, seed=order.take("seed"))


async def effect(order: Order) -> None:
    """sound_effect."""
    order.kind = "sound"
    order.refuse_if_absent()
    for index, uri in enumerate(order.take("referenceAudios") or []):
        await order.gather(f"ref{index}", uri, "audio", "referenceAudios", index)
    seconds = order.take("duration")
    order.put(prompt=order.take("promptText"), seconds=seconds, loop=order.take("loop"))
    order.put(variants=order.take("numVariants"), negative=order.take("negativePrompt"))
    _manner(order)
    prompt = order.params["prompt"]
    order.credits = order.alias.cost(seconds=seconds or USUAL_EFFECT_SECONDS, characters=utf16(prompt))


async def voice_change(order: Order) -> None:
    """speech_to_speech."""
    order.kind = "voice_change"
    order.refuse_if_absent()
    media = order.take("media")
    asset = await order.gather("media", media["uri"], media["type"], "media", "uri")
    order.put(voice=order.take("voice")["presetId"], remove_noise=order.take("removeBackgroundNoise"))
    order.credits = order.alias.cost(seconds=asset.seconds)


async def isolation(order: Order) -> None:
    """voice_isolation."""
    order.kind = "isolate"
    order.refuse_if_absent()
    asset = await order.gather("audio", order.take("audioUri"), "audio", "audioUri")
    order.credits = order.alias.cost(seconds=asset.seconds)


async def soundtrack(order: Order) -> None:
    """video_to_audio."""
    order.kind = "soundtrack"
    order.refuse_if_absent()
    video = await order.gather("video", order.take("videoUri"), "video", "videoUri")
    seconds = order.take("duration")
    order.put(seconds=min(seconds, video.seconds or seconds), prompt=order.take("promptText"))
    order.put(variants=order.take("numVariants"), format=order.take("format"), seed=order.take("seed"))
    order.put(keep_speech=order.take("preserveSpeech"), negative=order.take("negativePrompt"))
    order.credits = order.alias.cost(seconds=seconds) * int(order.params.get("variants", 1))


async def dub(order: Order) -> None:
    """voice_dubbing."""
    order.kind = "dub"
    order.refuse_if_absent()
    asset = await order.gather("audio", order.take("audioUri"), "audio", "audioUri")
    clone = order.take("disableVoiceCloning")
    order.put(language=order.take("targetLang"), clone=None if clone is None else not clone)
    order.put(drop_background=order.take("dropBackgroundAudio"), speakers=order.take("numSpeakers"))
    order.credits = order.alias.cost(seconds=asset.seconds)
