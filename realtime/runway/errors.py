"""Errors of the HTTP contract: `{error, issues?, docUrl?}` with the status that the SDKs map to their own classes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response


@dataclass(frozen=True, slots=True)
class Issue:
    """What is wrong with one member of a body; `path` walks into it."""

    code: str  # as zod names them: invalid_type, too_big, too_small, invalid_enum_value, unrecognized_keys, custom, …
    path: tuple[str | int, ...]
    message: str

    def as_dict(self) -> dict[str, Any]:
        return {"code": self.code, "path": list(self.path), "message": self.message}


class ApiError(Exception):
    """Any answer of the contract that is not a success. `more` holds further members of the body."""

    def __init__(
        self, status: int, error: str, issues: Sequence[Issue] = (), more: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(error)
        self.status, self.error, self.issues, self.more = status, error, tuple(issues), dict(more or {})

    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = {"error": self.error}
        if self.issues:
            found["issues"] = [issue.as_dict() for issue in self.issues]
        return found | self.more


def invalid(path: Sequence[str | int], message: str, code: str = "custom") -> ApiError:
    """A 400 about one member."""
    return ApiError(400, "Validation of body failed", [Issue(code, tuple(path), message)])


def not_found(what: str) -> ApiError:
    """A 404: `what` is a noun with its article, e.g. "A task with this id"."""
    return ApiError(404, f"{what} was not found.")


def answer(error: ApiError) -> Response:
    """As an HTTP answer."""
    return Response(json.dumps(error.body()).encode(), error.status, media_type="application/json")
