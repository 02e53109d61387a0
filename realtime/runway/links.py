"""Addresses at which clients read what is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .desk import Desk


def link(at: Desk, key: str) -> str | None:
    """A signed address of a blob, good for a day; None where there is no blob."""
    return f"{at.base_url}/v1/outputs/{key}" if key else None
