"""What the Studio page needs beside tasks: itself, what it can offer, and where a file says that it comes from.

GET /studio                                    the page
GET /api/offers                                {voices}
GET /api/tasks/<id>/outputs/<n>/provenance     {intact, trusted, signer, model}, or null where a file says nothing
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from ..avatars.audio.voices import PRESETS
from .governance.certificate import CHAIN, FOLDER
from .governance.provenance import ProvenanceError, read
from .offline import Offline
from .task_routes import NoSuchTask, TaskDesk

PAGE = Path(__file__).resolve().parents[1] / "clients" / "browser" / "studio" / "index.html"


class NoSuchOutput(NoSuchTask):
    """A file that a task did not make, or that is not kept any more."""

    code = "no_such_output"


def add_studio(app: FastAPI, offline: Offline, check_origin: Callable[[Request], None]) -> None:
    """The routes. `check_origin` raises ForbiddenOrigin for pages of other sites."""
    desk = TaskDesk(offline)

    @app.get("/studio", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE) if PAGE.is_file() else Response("The page is not installed.", status_code=404)

    @app.get("/api/offers")
    async def offers() -> dict[str, Any]:
        offline.queue.warm()  # whoever opens the page will want something drawn
        return {"voices": list(PRESETS)}

    @app.get("/api/tasks/{id}/outputs/{number}/provenance")
    async def provenance(id: str, number: int, request: Request) -> Response:
        check_origin(request)
        owner = await desk.owner(request.headers.get("authorization", ""))
        task = await desk.task(owner, id)
        if not 0 <= number < len(task.outputs):
            raise NoSuchOutput(f"This task has {len(task.outputs)} files, counted from 0.")
        return JSONResponse(await _said(offline, task.outputs[number]))


async def _said(offline: Offline, key: str) -> dict[str, Any] | None:
    services = offline.services
    with tempfile.TemporaryDirectory(prefix="worldstream-look-") as folder:
        path = Path(folder) / f"file{Path(key).suffix}"
        try:
            await services.blobs.fetch(key, path)
        except KeyError:
            raise NoSuchOutput("This file is not kept any more.") from None
        return await asyncio.to_thread(_read, path, services.data / FOLDER / CHAIN)


def _read(path: Path, roots: Path) -> dict[str, Any] | None:
    try:
        found = read(path, roots.read_bytes() if roots.is_file() else b"")
    except ProvenanceError:  # a kind of file that cannot say anything
        return None
    if found is None:
        return None
    return {"intact": found.intact, "trusted": found.trusted, "signer": found.signer, "model": found.model}
