"""A look at what is asked for, and at what came out, before anybody else sees it.

What is refused fails the task with a code of the contract: SAFETY.INPUT.TEXT, SAFETY.INPUT.IMAGE, SAFETY.OUTPUT.IMAGE.
Offline, phrases are looked for: a short list that ships and the operator's own in `<data>/moderation.txt`; pictures are
not looked at then. With WORLDSTREAM_MODERATION_URL an endpoint of the OpenAI moderation API judges both.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx

from ..jobs.contract import JobError

TEXT_PARAMS = ("prompt", "text", "negative_prompt", "camera")
MAX_PICTURE_BYTES = 20 * 2**20  # what such endpoints take
PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
# What no server should be asked for, whoever runs it. Whole words, in any order within a prompt.
SHIPPED: tuple[frozenset[str], ...] = tuple(
    frozenset({young, act})
    for young in (
        "child",
        "children",
        "minor",
        "toddler",
        "preteen",
        "schoolgirl",
        "schoolboy",
        "underage",
        "kid",
        "kids",
    )
    for act in ("nude", "naked", "sexual", "sex", "erotic", "porn", "pornographic", "undressed")
)


@dataclass(frozen=True, slots=True)
class Flag:
    """Why something is refused: a category in a word or two."""

    category: str


class Moderator(Protocol):
    """One way of looking."""

    def words(self, text: str) -> Flag | None: ...
    def picture(self, data: bytes, media_type: str) -> Flag | None: ...


def _folded(text: str) -> list[str]:
    """Words in lower case, without accents, and with look-alike digits read as letters."""
    plain = unicodedata.normalize("NFKD", text).translate(str.maketrans("013457@$", "oieastas"))
    return re.findall(r"[a-z']+", "".join(c for c in plain if not unicodedata.combining(c)).lower())


class PhraseModerator:
    """Offline: a line refuses a text that holds all of its words."""

    def __init__(self, lines: Sequence[str] = ()) -> None:
        own = tuple(frozenset(_folded(line)) for line in lines if line.strip() and not line.lstrip().startswith("#"))
        self._phrases = SHIPPED + tuple(phrase for phrase in own if phrase)

    @classmethod
    def of(cls, data: Path) -> PhraseModerator:
        """With the operator's own lines. Raises ValueError on a file that is no text."""
        path = data / "moderation.txt"
        try:
            return cls(path.read_text(encoding="utf-8").splitlines())
        except FileNotFoundError:
            return cls()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{path} cannot be read ({error}); write one phrase a line in UTF-8, or delete it"
            ) from None

    def words(self, text: str) -> Flag | None:
        held = set(_folded(text))
        return next((Flag("phrase list") for phrase in self._phrases if phrase <= held), None)

    def picture(self, data: bytes, media_type: str) -> Flag | None:
        """Nobody looks: the phrase list cannot."""
        return None


class EndpointModerator:
    """`POST <url>/v1/moderations` as the OpenAI API describes it. What it cannot answer is not let through: the task
    fails as INTERNAL and is tried again."""

    def __init__(self, url: str, key: str = "", model: str = "omni-moderation-latest", timeout_s: float = 20.0) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._url, self._model = url.rstrip("/").removesuffix("/v1") + "/v1/moderations", model
        self._client = httpx.Client(headers=headers, timeout=timeout_s)

    def words(self, text: str) -> Flag | None:
        return self._asked({"type": "text", "text": text})

    def picture(self, data: bytes, media_type: str) -> Flag | None:
        if len(data) > MAX_PICTURE_BYTES:
            raise JobError("ASSET.INVALID", f"a picture of {len(data)} bytes is too large to be looked at")
        url = f"data:{media_type};base64,{base64.b64encode(data).decode()}"
        return self._asked({"type": "image_url", "image_url": {"url": url}})

    def _asked(self, part: Mapping[str, Any]) -> Flag | None:
        try:
            answer = self._client.post(self._url, json={"model": self._model, "input": [part]})
            answer.raise_for_status()
            results = answer.json()["results"]
            flagged = [result for result in results if result["flagged"]]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise JobError("INTERNAL", f"the moderation service did not answer ({type(error).__name__})") from None
        if not flagged:
            return None
        categories = [name for name, hit in flagged[0].get("categories", {}).items() if hit]
        return Flag(", ".join(sorted(categories)) or "flagged")


class BothModerators:
    """The phrase list first: what it knows need not leave the machine."""

    def __init__(self, first: Moderator, second: Moderator) -> None:
        self._all = (first, second)

    def words(self, text: str) -> Flag | None:
        return next((flag for one in self._all if (flag := one.words(text)) is not None), None)

    def picture(self, data: bytes, media_type: str) -> Flag | None:
        return next((flag for one in self._all if (flag := one.picture(data, media_type)) is not None), None)


def moderator(data: Path, settings: Mapping[str, str]) -> Moderator | None:
    """As the operator set it: WORLDSTREAM_MODERATION is off, phrases (the default) or endpoint, which also needs
    WORLDSTREAM_MODERATION_URL and may have _KEY and _MODEL. Raises ValueError on anything else."""
    url = settings.get("WORLDSTREAM_MODERATION_URL", "")
    how = settings.get("WORLDSTREAM_MODERATION", "") or ("endpoint" if url else "phrases")
    if how == "off":
        return None
    phrases = PhraseModerator.of(data)
    if how == "phrases":
        return phrases
    if how != "endpoint" or not url:
        raise ValueError(
            f"WORLDSTREAM_MODERATION must be off, phrases or endpoint (with WORLDSTREAM_MODERATION_URL), got {how!r}"
        )
    model = settings.get("WORLDSTREAM_MODERATION_MODEL", "") or "omni-moderation-latest"
    return BothModerators(phrases, EndpointModerator(url, settings.get("WORLDSTREAM_MODERATION_KEY", ""), model))


def check_order(look: Moderator, params: Mapping[str, Any], inputs: Mapping[str, Path]) -> None:
    """Before a job begins. Raises JobError."""
    texts = [str(params[name]) for name in TEXT_PARAMS if params.get(name)]
    moments = params.get("moments")  # of another shape where nobody has checked it yet: the job says so
    listed = moments if isinstance(moments, list | tuple) else ()
    texts += [str(moment.get("prompt", "")) for moment in listed if isinstance(moment, Mapping)]
    for text in texts:
        _raise("SAFETY.INPUT.TEXT", "the prompt", look.words(text) if text.strip() else None)
    for name, path in inputs.items():
        if path.suffix.lower() in PICTURES:
            flag = look.picture(path.read_bytes(), PICTURES[path.suffix.lower()])
            _raise("SAFETY.INPUT.IMAGE", f"the picture {name}", flag)


def check_frame(look: Moderator, jpeg: bytes) -> None:
    """A frame of what came out. Raises JobError."""
    _raise("SAFETY.OUTPUT.IMAGE", "what was drawn", look.picture(jpeg, "image/jpeg"))


def _raise(code: str, what: str, flag: Flag | None) -> None:
    if flag is not None:
        raise JobError(code, f"The moderation of this server refuses {what} ({flag.category})..")
