"""The only code that loads espeak-ng (GPL-3): a program of its own that says one text and ends.

It needs nothing but the standard library and is started by its path, `python -I espeak_worker.py`. In: one JSON object
on standard input. Out: one JSON line, then the samples as 16-bit little-endian mono. A fresh process for every text
makes the samples repeatable (the library's state lingers from text to text) and a crash of the library harmless.
"""

from __future__ import annotations

import ctypes
import json
import sys
from typing import Any

RETRIEVE_SYNCHRONOUSLY = 2  # espeak_AUDIO_OUTPUT
DO_NOT_EXIT = 0x8000  # the library returns errors instead of ending the process
UTF8 = 1
RATE, VOLUME, PITCH, RANGE = 1, 2, 3, 4  # espeak_PARAMETER
LIST_TERMINATED, WORD = 0, 1  # espeak_EVENT_TYPE
MOST_BYTES = 512 * 2**20  # of memory: the library and its tables take about 40 MiB


class Event(ctypes.Structure):
    """`espeak_EVENT` of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # characters, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))


class Said:
    """What the library hands back, piece by piece."""

    def __init__(self, most_samples: int) -> None:
        self.pcm = bytearray()
        self.words: list[tuple[int, int, int]] = []  # first sample, position of its first character, characters
        self._most = most_samples * 2

    def take(self, samples: Any, count: int, events: Any) -> int:
        """`t_espeak_callback`: 1 ends the speech."""
        index = 0
        while events[index].type != LIST_TERMINATED:
            event = events[index]
            if event.type == WORD:
                self.words.append((event.sample, event.text_position - 1, event.length))
            index += 1
        if samples and count > 0:
            self.pcm += ctypes.string_at(samples, count * 2)
        return int(len(self.pcm) > self._most)


def bounded(cpu_s: int) -> None:
    """Bounds this process's memory and time, where the system can."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def say(asked: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """(the reply's header, samples). Raises ValueError with one line."""
    library = ctypes.CDLL(asked["library"])
    library.espeak_Initialize.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int)
    rate = library.espeak_Initialize(RETRIEVE_SYNCHRONOUSLY, 0, asked["data"].encode(), DO_NOT_EXIT)
    if rate <= 0:
        raise ValueError(f"espeak-ng cannot read its data in {asked['data']}")
    said = Said(int(asked["most_s"] * rate))
    callback = Callback(said.take)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(asked["voice"].encode()) != 0:
        raise ValueError(f"espeak-ng knows no voice {asked['voice']}")
    for parameter, value in ((RATE, "words_per_minute"), (VOLUME, "volume"), (PITCH, "pitch"), (RANGE, "range")):
        library.espeak_SetParameter(parameter, int(asked[value]), 0)
    text = asked["text"].encode() + b"\0"
    library.espeak_Synth.argtypes = (
        ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint,
        ctypes.c_void_p, ctypes.c_void_p,
    )  # fmt: skip
    failed = library.espeak_Synth(text, len(text), 0, 1, 0, UTF8, None, None)
    library.espeak_Synchronize()
    if failed:
        raise ValueError(f"espeak-ng could not say the text (its error {failed})")
    return {"rate_hz": rate, "words": said.words}, bytes(said.pcm)


def main() -> None:
    asked = json.load(sys.stdin)
    bounded(int(asked["cpu_s"]))
    try:
        header, pcm = say(asked)
    except (ValueError, OSError) as error:
        header, pcm = {"error": str(error)}, b""
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + pcm)


if __name__ == "__main__":
    main()
