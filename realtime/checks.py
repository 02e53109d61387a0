"""One check per message field, and the dataclass that runs them: what `protocol` is written with.

A check takes what JSON gave and returns the value to keep, or raises ValueError with the end of a sentence that starts
with the field's name ("must be a number from 0 to 1").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

Check = Callable[[object], object]
T = TypeVar("T")


def integer(low: int, high: int) -> Check:
    def check(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return value

    return check


def number(low: float, high: float) -> Check:
    def check(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError("must be a number")
        if not low <= value <= high:  # NaN and the infinities fail this too
            raise ValueError(f"must be a number from {low:g} to {high:g}")
        return float(value)

    return check


def text(limit: int) -> Check:
    def check(value: object) -> object:
        if not isinstance(value, str) or len(value) > limit:
            raise ValueError(f"must be text of at most {limit} characters")
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise ValueError("must be valid Unicode")  # a lone surrogate cannot be sent on
        return value

    return check


def flag(value: object) -> object:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def one_of(*choices: str) -> Check:
    def check(value: object) -> object:
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value

    return check


def optional(inner: Check) -> Check:
    return lambda value: None if value is None else inner(value)


def list_of(inner: Check, limit: int) -> Check:
    def check(value: object) -> object:
        if not isinstance(value, (list, tuple)) or len(value) > limit:
            raise ValueError(f"must be a list of at most {limit}")
        return tuple(inner(item) for item in value)

    return check


def wire(check: Check, *, default: object = MISSING) -> Any:
    """A dataclass field that knows its check. `Any`, as dataclasses.field itself is typed."""
    if default is MISSING:
        return field(metadata={"check": check})
    return field(default=default, metadata={"check": check})


@dataclass_transform(frozen_default=True, field_specifiers=(wire,))
def message(cls: type[T]) -> type[T]:
    """The decorator of every message: a frozen dataclass with slots."""
    return dataclass(frozen=True, slots=True)(cls)


@message
class Message:
    """What all messages share. Constructing one checks every field; raises ValueError that names the field."""

    TYPE: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for item in fields(self):
            try:
                object.__setattr__(self, item.name, item.metadata["check"](getattr(self, item.name)))
            except ValueError as error:
                raise ValueError(f"{self.TYPE}.{item.name} {error}") from None

    def as_dict(self) -> dict[str, Any]:
        """The JSON object, `type` first."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {"type": self.TYPE, **values} if self.TYPE else values

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """Raises ValueError on a missing or bad field; ignores fields that it does not know."""
        known = {item.name: data[item.name] for item in fields(cls) if item.name in data}
        for item in fields(cls):
            if item.name not in known and item.default is MISSING:
                raise ValueError(f"{cls.TYPE}.{item.name} is missing")
        return cls(**known)
