"""What bodies are made of: strict objects, text measured as JavaScript measures it, media strings, whole numbers.

Strict as the hosted API is: unknown members, null for an option, "5" for 5 and true for 1 are all refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, LiteralString

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema
from pydantic.functional_validators import AfterValidator
from pydantic_core import PydanticCustomError

MEDIA_CHARACTERS = {"image": 5_242_880, "video": 16_777_216, "audio": 16_777_216}  # of a data URI
_URL_CHARACTERS, _UPLOAD_CHARACTERS, _FEWEST = 2048, 5000, 13
_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


class Body(BaseModel):
    """An object of the contract: unknown members are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    def sent(self) -> dict[str, Any]:
        """What was sent, defaults of the contract included where they mean something, absent options left out."""
        return self.model_dump(exclude_none=True)


def option(default: Any = None, **more: Any) -> Any:
    """A member that may be absent; null is refused all the same."""
    return Field(default=default, **more)


def utf16(text: str) -> int:
    """Length in UTF-16 code units, as JavaScript counts: an emoji is 2."""
    return len(text) if text.isascii() else len(text) + sum(c > "\uffff" for c in text)


def _wrong(code: LiteralString, text: str) -> PydanticCustomError:
    return PydanticCustomError(code, "{wrong}", {"wrong": text})


def words(most: int | None = None, fewest: int = 1) -> Any:
    """The annotation of a text of so many UTF-16 code units."""

    def check(text: str) -> str:
        length = utf16(text)
        if length < fewest:
            raise _wrong("too_small", f"String must contain at least {fewest} character(s)")
        if most is not None and length > most:
            raise _wrong("too_big", f"String must contain at most {most} character(s), not {length}")
        return text

    schema: dict[str, Any] = {"type": "string", "minLength": fewest}
    if most is not None:
        schema["maxLength"] = most
    return Annotated[str, AfterValidator(check), WithJsonSchema(schema)]


def _whole(value: Any) -> Any:
    """5.0 is an integer in JSON, as in JavaScript."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def whole(least: int | None = None, most: int | None = None) -> Any:
    """The annotation of an integer in a range, ends included."""
    return Annotated[int, Field(ge=least, le=most), BeforeValidator(_whole)]


def number(least: float | None = None, most: float | None = None) -> Any:
    """The annotation of a finite number in a range, ends included."""
    return Annotated[float, Field(ge=least, le=most)]


def one_of(*values: str | int) -> Any:
    """The annotation of one of these values."""
    kind = Literal[values]  # type: ignore[valid-type]
    return Annotated[kind, BeforeValidator(_whole)] if isinstance(values[0], int) else kind


def many(item: Any, most: int | None = None, fewest: int = 0) -> Any:
    """The annotation of a list of so many items."""
    return Annotated[list[item], Field(min_length=fewest, max_length=most)]


def media(kind: str) -> Any:
    """The annotation of a media string: https URL, runway:// upload or data URI of `kind` image, video or audio.
    Whether the file is there and is what it says is found out later, when it is gathered."""
    most = MEDIA_CHARACTERS[kind]

    def check(uri: str) -> str:
        limit = _URL_CHARACTERS
        if uri.startswith("data:"):
            if not uri.startswith(f"data:{kind}/"):
                raise _wrong("invalid_string", f"A data URI here must begin with data:{kind}/")
            limit = most
        elif uri.startswith("runway://"):
            limit = _UPLOAD_CHARACTERS
        elif not uri.startswith(("https://", "http://")):  # http is refused with its reason when it is gathered
            raise _wrong("invalid_string", f"Must be an https URL, a runway:// upload URI or a data:{kind}/ URI")
        if len(uri) < _FEWEST:
            raise _wrong("too_small", f"String must contain at least {_FEWEST} character(s)")
        if len(uri) > limit:
            raise _wrong("too_big", f"String must contain at most {limit} character(s)")
        return uri

    pattern = f"^(https://|runway://|data:{kind}/)"
    schema = {"type": "string", "minLength": _FEWEST, "maxLength": most, "pattern": pattern}
    return Annotated[str, AfterValidator(check), WithJsonSchema(schema)]


def string_or_list(string: Any, items: Any) -> Any:
    """The annotation of a member that is either: errors then speak of the one that was meant."""

    def which(value: Any) -> str:
        return "list" if isinstance(value, list) else "string"

    return Annotated[Annotated[string, Tag("string")] | Annotated[items, Tag("list")], Discriminator(which)]


def by_member(*choices: tuple[str, Any]) -> Any:
    """The annotation of one of several objects, told apart by a member that only one of them has: (member, object)."""

    def which(value: Any) -> str | None:
        has = value.__contains__ if isinstance(value, dict) else lambda member: hasattr(value, member)
        return next((member for member, _ in choices if has(member)), choices[0][0])

    union: Any = Annotated[choices[0][1], Tag(choices[0][0])]
    for member, choice in choices[1:]:
        union = union | Annotated[choice, Tag(member)]
    return Annotated[union, Discriminator(which)]


def custom(check: Callable[[Any], str]) -> Any:
    """An annotation's extra check: the text is what is wrong, empty where nothing is."""

    def run(value: Any) -> Any:
        wrong = check(value)
        if wrong:
            raise _wrong("custom", wrong)
        return value

    return AfterValidator(run)


IMG, VID, AUD = media("image"), media("video"), media("audio")
SEED = whole(0, 2**32 - 1)
FLAG = bool
UUID = Annotated[str, Field(pattern=_UUID)]
TAG_PATTERN = r"^[a-z][a-z0-9_]+$"
TAG = Annotated[str, Field(min_length=3, max_length=16, pattern=TAG_PATTERN)]


def is_uuid(text: str) -> bool:
    """Whether `text` can be the id of anything here."""
    return re.fullmatch(_UUID, text) is not None


class ContentModeration(Body):
    """Accepted as the hosted API accepts it."""

    publicFigureThreshold: Literal["auto", "low"] = option()
