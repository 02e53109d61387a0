"""Whose pages may ask; the rest of the guard is tested over HTTP, in test_serve.py."""

from __future__ import annotations

import pytest

from worldstream.realtime.errors import ForbiddenOrigin
from worldstream.realtime.guard import check_origin


def test_origins() -> None:
    check_origin(None, "127.0.0.1:8800", ())
    check_origin("http://127.0.0.1:8800", "127.0.0.1:8800", ())
    check_origin("https://friend.example", "127.0.0.1:8800", ("https://friend.example",))
    for origin in ("http://127.0.0.1:9999", "null", "https://friend.example.evil.example", ""):
        with pytest.raises(ForbiddenOrigin):
            check_origin(origin, "127.0.0.1:8800", ("https://friend.example",))
