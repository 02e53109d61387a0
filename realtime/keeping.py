"""What becomes of kept things when the light task behind them has ended: avatars get their portrait, voices their
preview, and both keep copies of their own, since tasks and uploads do not stay."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from .blobs import media_type_of
from .services import Services
from .store import library
from .store.library import Avatar, Voice
from .tasks import FINAL, Task

log = logging.getLogger(__name__)


class Keeper:
    """The server calls `tick` every second or so."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def tick(self) -> None:
        avatars, voices = await self._services.database.read(library.unfinished)
        for avatar in avatars:
            if (task := await self._ended(avatar.owner, avatar.task)) is not None:
                await self._settle_avatar(avatar, task)
        for voice in voices:
            if (task := await self._ended(voice.owner, voice.task)) is not None:
                await self._settle_voice(voice, task)

    async def _ended(self, owner: str, id: str) -> Task | None:
        try:
            task = await self._services.tasks.get(owner, id)
        except KeyError:
            return Task(id, "", {}, owner, "", "", "FAILED", 0.0, failure="The task behind it was deleted.")
        return task if task.state in FINAL else None

    async def _settle_avatar(self, avatar: Avatar, task: Task) -> None:
        done = replace(avatar, state="FAILED", failure=task.failure or "The task behind it was cancelled.")
        if task.state == "SUCCEEDED":
            place = f"avatars/{avatar.id}/{task.id}"
            try:
                portrait = await self._copy(task.outputs[0], f"{place}/portrait")
                reference = avatar.reference
                if not reference.startswith(f"avatars/{avatar.id}/"):
                    reference = await self._copy(reference, f"{place}/reference")
                done = replace(avatar, state="READY", failure="", portrait=portrait, reference=reference)
            except (KeyError, IndexError):
                done = replace(avatar, state="FAILED", failure="The picture was deleted before it was ready.")

        def work(connection: Any) -> None:
            now = library.avatars.get(connection, avatar.owner, avatar.id, hold=True)
            if now.task == task.id and now.state == "PROCESSING":
                library.avatars.replace(connection, replace(done, task=""))

        await self._write(work, f"avatars/{avatar.id}/")
        if done.state == "READY":
            for old in {avatar.portrait, avatar.reference} - {done.portrait, done.reference}:
                if old.startswith(f"avatars/{avatar.id}/"):
                    await self._services.blobs.remove(old)
        await self._forget(task)

    async def _settle_voice(self, voice: Voice, task: Task) -> None:
        done = replace(voice, state="FAILED", failure=task.failure or "The task behind it was cancelled.")
        if task.state == "SUCCEEDED":
            origin = voice.origin
            try:
                preview = await self._copy(task.outputs[0], f"voices/{voice.id}/preview")
                if "blob" in origin:
                    origin = origin | {"blob": await self._copy(origin["blob"], f"voices/{voice.id}/recording")}
                done = replace(voice, state="READY", failure="", preview=preview, origin=origin)
            except (KeyError, IndexError):
                done = replace(voice, state="FAILED", failure="The recording was deleted before it was ready.")

        def work(connection: Any) -> None:
            now = library.voices.get(connection, voice.owner, voice.id, hold=True)  # may have been renamed meanwhile
            settled = replace(done, name=now.name, description=now.description, task="")
            library.voices.replace(connection, settled)

        await self._write(work, f"voices/{voice.id}/")
        await self._forget(task)

    async def _write(self, work: Any, place: str) -> None:
        try:
            await self._services.database.write(work)
        except KeyError:
            await self._services.blobs.remove(place)  # deleted while it was settled

    async def _copy(self, key: str, stem: str) -> str:
        """A copy of a blob under a key of its own. Raises KeyError."""
        copy = f"{stem}{Path(key).suffix}"
        folder = Path(await asyncio.to_thread(self._scratch))
        try:
            await self._services.blobs.fetch(key, folder / "copy")
            await self._services.blobs.put(copy, folder / "copy", media_type_of(copy))
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        return copy

    def _scratch(self) -> str:
        folder = self._services.data / "scratch"
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.mkdtemp(dir=folder)

    async def _forget(self, task: Task) -> None:
        """What it made is kept elsewhere now."""
        try:
            await self._services.tasks.remove(task.owner, task.id)
        except KeyError:
            log.debug("task %s was gone already", task.id)
