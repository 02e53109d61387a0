"""Our tables of models agree, member by member and value by value, with the types of the official SDK."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from tests.realtime.runway.sdk_shapes import Member, requests
from worldstream.realtime.runway.generation_routes import ENDPOINTS

SDK_ENDPOINTS = {name.replace("avatar_videos", "avatar_video"): name for name in ENDPOINTS if name[:8] != "robotics"}
OLDER = {"promptImage"}  # of aleph2: kept for older clients


def members(kind: type[BaseModel]) -> dict[str, Member]:
    """As sdk_shapes.members, of one of our bodies."""
    return {name: _member(field.rebuild_annotation(), field.is_required()) for name, field in kind.model_fields.items()}


def _member(hint: Any, required: bool) -> Member:
    values: set[Any] = set()
    inner: dict[str, Any] = {}
    todo = [hint]
    while todo:
        one = todo.pop()
        if get_origin(one) is Literal:
            values |= set(get_args(one))
        elif isinstance(one, type) and issubclass(one, BaseModel):
            inner |= members(one)
        elif get_origin(one) is Annotated:
            todo.append(get_args(one)[0])
        elif get_origin(one) in (Union, UnionType, list):
            todo += get_args(one)
    return Member(required, frozenset(values), tuple(sorted(inner.items())))


def ours(endpoint: str, model: str) -> dict[str, Member]:
    for kind in ENDPOINTS[SDK_ENDPOINTS[endpoint]][0]:
        if model in get_args(kind.model_fields["model"].annotation):
            return members(kind)
    raise AssertionError(f"{endpoint} does not take {model}")


CASES = [(endpoint, model, shape) for endpoint in SDK_ENDPOINTS for model, shape in requests(endpoint)]


@pytest.mark.parametrize(("endpoint", "model", "theirs"), CASES, ids=[f"{e}-{m}" for e, m, _ in CASES])
def test_members_and_values_are_those_of_the_sdk(endpoint: str, model: str, theirs: dict[str, Member]) -> None:
    found = {name: member for name, member in ours(endpoint, model).items() if name != "model"}
    wanted = {name: member for name, member in theirs.items() if name != "model"}
    if model == "aleph2":
        found = {name: member for name, member in found.items() if name not in OLDER}
    assert found.keys() == wanted.keys()
    for name, member in wanted.items():
        assert found[name].required == member.required, name
        assert found[name].values == member.values, name
        if member.members:  # some lists hold plain objects in the SDK: there it says nothing
            assert dict(found[name].members).keys() == dict(member.members).keys(), name


def test_every_model_of_the_sdk_was_compared() -> None:
    assert len(CASES) == 99
