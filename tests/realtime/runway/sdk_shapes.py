"""What the official Python SDK's own types say that a request holds, read from its TypedDicts."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Required, Union, get_args, get_origin, get_type_hints

from runwayml._utils import PropertyInfo
from typing_extensions import is_typeddict


@dataclass(frozen=True)
class Member:
    """One member of an object: `values` are those of a Literal, `members` those of an object or of a list's items."""

    required: bool
    values: frozenset[Any] = frozenset()
    members: tuple[tuple[str, Any], ...] = ()


def _bare(hint: Any) -> Any:
    while get_origin(hint) in (Annotated, Required):
        hint = get_args(hint)[0]
    return hint


def _alias(hint: Any, name: str) -> str:
    hint = get_args(hint)[0] if get_origin(hint) is Required else hint
    found = [m.alias for m in getattr(hint, "__metadata__", ()) if isinstance(m, PropertyInfo) and m.alias]
    return found[0] if found else name


def members(kind: Any) -> dict[str, Member]:
    """Wire name -> what may stand there."""
    found = {}
    hints = get_type_hints(kind, include_extras=True)
    for name, hint in hints.items():
        required = any(get_origin(part) is Required for part in (hint, *get_args(hint)))
        found[_alias(hint, name)] = _member(hint, required)
    return found


def _member(hint: Any, required: bool) -> Member:
    values: set[Any] = set()
    inner: dict[str, Any] = {}
    todo = [hint]
    while todo:
        one = _bare(todo.pop())
        if get_origin(one) is Literal:
            values |= set(get_args(one))
        elif is_typeddict(one):
            inner |= members(one)
        elif get_args(one):
            todo += get_args(one)
    return Member(required, frozenset(values), tuple(sorted(inner.items())))


def requests(endpoint: str) -> Iterator[tuple[str, dict[str, Member]]]:
    """(model, members) of each kind of request that an endpoint takes."""
    module = importlib.import_module(f"runwayml.types.{endpoint}_create_params")
    top = getattr(module, "".join(part.title() for part in endpoint.split("_")) + "CreateParams")
    for kind in get_args(top) if get_origin(top) is Union else [top]:
        found = members(_bare(kind))
        (model,) = found["model"].values
        yield model, found
