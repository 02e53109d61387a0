"""Uploads that last a day: a signed permission to send one file, and the runway:// URI under which its owner may name
it afterwards. Nothing is kept but the files: permission and URI carry their own proof.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..services import Blobs

log = logging.getLogger(__name__)

SEND_WITHIN_S = 3600.0  # the permission to write
USABLE_S = 24 * 3600.0
MIN_BYTES, MAX_BYTES = 512, 200 * 1000 * 1000
_URI = re.compile(r"runway://uploads/([0-9a-f-]{36})/([0-9]{1,12})/([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a client is given: the id of the upload, the form fields that prove it, and the URI of what it sends."""

    id: str
    fields: dict[str, str]
    uri: str


class UploadStore:
    """Files of uploads are `uploads/<owner>/<id>` among the blobs: another owner's is simply not found."""

    def __init__(self, blobs: Blobs, secret: bytes, clock: Callable[[], float]) -> None:
        self.blobs, self._secret, self._clock = blobs, secret, clock
        self._underway: set[str] = set()
        self._swept_s = 0.0

    def ticket(self, owner: str) -> Ticket:
        """A permission for one file of `owner`."""
        id = str(uuid.uuid4())
        policy = {"id": id, "owner": owner, "expires": round(self._clock() + SEND_WITHIN_S)}
        encoded = base64.b64encode(json.dumps(policy).encode()).decode()
        until = f"{id}/{round(self._clock() + USABLE_S)}"
        fields = {"key": id, "policy": encoded, "signature": self._sign("send", encoded)}
        return Ticket(id, fields, f"runway://uploads/{until}/{self._sign('use', until)}")

    def admit(self, id: str, fields: dict[str, str]) -> str:
        """The owner whose permission `fields` are, for the upload `id`. Raises ValueError."""
        policy, signature = fields.get("policy", ""), fields.get("signature", "")
        if not hmac.compare_digest(self._sign("send", policy).encode(), signature.encode("utf-8", "replace")):
            raise ValueError("the fields of the form do not give permission to upload")
        try:
            said = json.loads(base64.b64decode(policy, validate=True))
        except (binascii.Error, ValueError) as error:
            raise ValueError("the policy of the form is broken") from error
        if said["id"] != id:
            raise ValueError("the fields of the form belong to another upload")
        if said["expires"] < self._clock():
            raise ValueError("the permission to upload has expired; ask for a new one")
        return str(said["owner"])

    async def begin(self, owner: str, id: str) -> None:
        """Before a file is received: a permission is good for one. Raises ValueError."""
        used = ValueError("this upload has been used; ask for a new one")
        if id in self._underway:
            raise used
        self._underway.add(id)  # before anything is awaited: several may come at once
        if await self._size(owner, id) is not None:
            self.end(id)
            raise used

    def end(self, id: str) -> None:
        """After `begin`, whatever came of it."""
        self._underway.discard(id)

    async def keep(self, owner: str, id: str, path: Path) -> None:
        """Move a received file in."""
        await self.blobs.put(_key(owner, id), path, "application/octet-stream")

    async def fetch(self, owner: str, uri: str, path: Path) -> None:
        """A copy at `path` of what was uploaded under `uri`. Raises ValueError."""
        match = _URI.fullmatch(uri)
        if match is None or not hmac.compare_digest(self._sign("use", f"{match[1]}/{match[2]}"), match[3]):
            raise ValueError("this server gave no such upload URI")
        if int(match[2]) < self._clock():
            raise ValueError("this upload has expired; uploads last 24 hours")
        try:
            await self.blobs.fetch(_key(owner, match[1]), path)
        except KeyError:
            raise ValueError("nothing was uploaded under this URI, or it is another key's") from None

    async def sweep(self) -> None:
        """Remove expired files, at most once an hour."""
        now_s = self._clock()
        if now_s - self._swept_s < 3600.0:
            return
        self._swept_s = now_s
        old = [key async for key, put_s in self.blobs.keys("uploads/") if put_s + USABLE_S + 3600.0 < now_s]
        for key in old:
            await self.blobs.remove(key)

    def _sign(self, purpose: str, text: str) -> str:
        said = f"upload {purpose}\0{text}".encode("utf-8", "replace")
        return hmac.new(self._secret, said, hashlib.sha256).hexdigest()

    async def _size(self, owner: str, id: str) -> int | None:
        try:
            return await self.blobs.size(_key(owner, id))
        except KeyError:
            return None


def _key(owner: str, id: str) -> str:
    return f"uploads/{owner}/{id}"
