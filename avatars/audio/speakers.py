"""Which engine speaks on this machine."""

from __future__ import annotations

from collections.abc import Callable

from ..tts import NoSpeaker, Speaker
from .espeak import installed_espeak
from .speech_service import service_of


def speaker_of(setting: Callable[[str], str]) -> Speaker:
    """The service of WORLDSTREAM_SPEECH_URL, else espeak-ng. `setting` is `Workshop.setting`.

    Raises NoSpeaker where there is none, SpeechError on settings that cannot be read.
    """
    service = service_of(setting)
    if service is not None:
        return service
    found = installed_espeak()
    if found is None:
        raise NoSpeaker(
            "No voice is installed on this machine. Install the offline voices with `pip install worldstream[speech]` "
            "(or the system's espeak-ng), or name a speech service with WORLDSTREAM_SPEECH_URL."
        )
    return found
