"""Everything of the contract that is kept, routed or composed, beside generation, uploads and tasks."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI

from . import (
    avatars,
    conversations,
    documents,
    generate,
    organization,
    recipes,
    rooms,
    routers,
    voices,
    workflows,
)

LIBRARY: tuple[Callable[[FastAPI], None], ...] = (
    documents.add,
    avatars.add,
    voices.add,
    rooms.add,
    conversations.add,
    routers.add,
    generate.add,
    workflows.add,
    recipes.add,
    organization.add,
)
