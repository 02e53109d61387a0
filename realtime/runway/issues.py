"""What is wrong with a body, said as Zod says it: pydantic's findings become issues with Zod's codes and paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .errors import ApiError, Issue

MAX_ISSUES = 50  # a hostile body may hold thousands
BRANCHED = 16  # names in a path up to which every way through it is tried; ways double with each
_ZOD = {
    "missing": "invalid_type",
    "extra_forbidden": "unrecognized_keys",
    "literal_error": "invalid_enum_value",
    "enum": "invalid_enum_value",
    "union_tag_invalid": "invalid_union_discriminator",
    "union_tag_not_found": "invalid_union_discriminator",
    "string_pattern_mismatch": "invalid_string",
    "finite_number": "not_finite",
    "string_too_short": "too_small",
    "too_short": "too_small",
    "greater_than": "too_small",
    "greater_than_equal": "too_small",
    "string_too_long": "too_big",
    "too_long": "too_big",
    "less_than": "too_big",
    "less_than_equal": "too_big",
    "uuid_parsing": "invalid_string",
    "date_from_datetime_parsing": "invalid_date",
    "date_parsing": "invalid_date",
    "datetime_parsing": "invalid_date",
    "datetime_from_date_parsing": "invalid_date",
}
_OUR_CODES = {"too_big", "too_small", "custom", "invalid_type", "invalid_string", "unrecognized_keys"}  # as they are


def refused(errors: Sequence[Mapping[str, Any]], body: object) -> ApiError:
    """A 400 out of pydantic's `errors()` about `body`. Paths begin inside the body, or at a parameter's name."""
    where = str(errors[0]["loc"][0]) if errors and errors[0]["loc"] else "body"
    found = dict.fromkeys(_issue(error, body) for error in errors[:MAX_ISSUES])  # the same said twice is said once
    return ApiError(400, f"Validation of {where} failed", tuple(found))


def _issue(error: Mapping[str, Any], body: object) -> Issue:
    kind, loc = str(error["type"]), tuple(error["loc"])
    inside = loc[1:]
    path = _path(inside, body, keeps_last=kind == "missing") if loc[:1] == ("body",) else inside
    if kind == "extra_forbidden":
        return Issue("unrecognized_keys", path[:-1], f"Unrecognized key(s) in object: '{_shown(path[-1])}'")
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _about_tag(error, path)
    return Issue(_code(kind), path, _message(kind, error))


def _about_tag(error: Mapping[str, Any], path: tuple[str | int, ...]) -> Issue:
    context = error.get("ctx", {})
    member = str(context.get("discriminator", "")).strip("'")
    path = (*path, member) if member.isidentifier() else path
    if error["type"] == "union_tag_not_found":
        return Issue("invalid_type", path, "Required")
    return Issue(
        "invalid_union_discriminator", path, f"Invalid discriminator value. Expected {context.get('expected_tags')}"
    )


def _code(kind: str) -> str:
    if kind in _OUR_CODES:
        return kind
    if kind in _ZOD:
        return _ZOD[kind]
    return "invalid_type" if kind.endswith(("_type", "_parsing", "_from_float")) else "custom"


def _message(kind: str, error: Mapping[str, Any]) -> str:
    return "Required" if kind == "missing" else _shown(str(error["msg"]).removeprefix("Value error, "))


def _shown(text: object) -> str:
    """At most 300 characters of what may have come from the sender."""
    said = str(text)
    return said if len(said) <= 300 else said[:297] + "…"


def _path(loc: tuple[Any, ...], value: object, *, keeps_last: bool) -> tuple[str | int, ...]:
    """The walk through `value` that `loc` means. pydantic also names the branches of unions there; of all ways to leave
    names out, the one that follows the body furthest is meant; of long walks, the one that follows wherever it can."""
    if not loc:
        return ()
    first, rest = loc[0], loc[1:]
    if not rest and keeps_last:
        return (first,)
    follows: tuple[str | int, ...] = ()
    inside = isinstance(value, Mapping) and first in value
    if inside or (isinstance(value, list) and isinstance(first, int) and first < len(value)):
        follows = (first, *_path(rest, value[first], keeps_last=keeps_last))  # type: ignore[index]
    if follows and len(loc) > BRANCHED:
        return follows
    skips = _path(rest, value, keeps_last=keeps_last) if rest else ()
    return follows if len(follows) >= len(skips) else skips
