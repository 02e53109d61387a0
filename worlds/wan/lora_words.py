"""LoRAs by words: `a forest <lora:watercolour:0.8>` asks for a loaded one at a scale, as other tools write it."""

from __future__ import annotations

import math
import re
from collections.abc import Collection

_ASKED = re.compile(r"<lora:([^<>:]+)(?::([^<>:]*))?>")
MOST = 4.0  # beyond it, pictures break


def asked(prompt: str, names: Collection[str]) -> tuple[str, dict[str, float]]:
    """(the prompt without what asks for LoRAs, scale of each one asked for); without a number the scale is 1.

    What names no loaded LoRA, or no number between -MOST and MOST, stays in the prompt as it is written.
    """
    scales: dict[str, float] = {}

    def taken(match: re.Match[str]) -> str:
        name, number = match[1].strip(), match[2]
        try:
            scale = 1.0 if number is None else float(number)
        except ValueError:
            return match[0]
        if name not in names or not math.isfinite(scale) or abs(scale) > MOST:
            return match[0]
        scales[name] = scale
        return " "

    text = _ASKED.sub(taken, prompt)
    return (" ".join(text.split()) if scales else prompt), scales
