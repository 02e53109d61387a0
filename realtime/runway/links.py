"""Addresses at which clients read what is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import outputs

if TYPE_CHECKING:
    from .desk import Desk


def link(at: Desk, key: str) -> str | None:
    """A signed address of a blob, good for 24 to 48 hours; None where there is no blob."""
    return outputs.link(at.services, at.base_url, key) if key else None
