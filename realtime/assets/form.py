"""A multipart form as it arrives: small fields first, then one file, streamed to disk within its limits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

MAX_FIELDS, MAX_FIELD_BYTES = 20, 16 * 1024
SILENCE_S = 15.0  # between two pieces
GRACE_S, LEAST_BYTES_PER_S = 30.0, 8 * 1024  # on the whole: whoever trickles is sent away
WRITE_BYTES = 256 * 1024


class TooLarge(ValueError):
    """More than is allowed."""


@dataclass
class Form:
    """What has arrived. `size` is the file's."""

    fields: dict[str, str] = field(default_factory=dict)
    size: int = 0


@dataclass
class _Part:
    """A part as its headers and its data come in."""

    header: bytes = b""
    value: bytes = b""
    name: str = ""
    is_file: bool = False
    data: bytearray = field(default_factory=bytearray)


class _Reader:
    """Collects what the parser calls back; bytes of the file wait in `pending` until they are written."""

    def __init__(self, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or b"boundary" not in options:
            raise ValueError("the body must be multipart/form-data")
        self.form, self.pending = Form(), bytearray()
        self.opened = self.finished = False
        self._parts = 0
        self._part = _Part()
        self._parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_end": self._finish,
            },
        )

    def feed(self, piece: bytes) -> None:
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise ValueError("the multipart form is broken") from error

    def _begin(self) -> None:
        if self.opened:
            raise ValueError("the file must be the last part of the form")
        self._parts += 1
        if self._parts > MAX_FIELDS + 1:
            raise ValueError(f"the form has more than {MAX_FIELDS} fields")
        self._part = _Part()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._part.header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._part.value += data[start:end]

    def _header_end(self) -> None:
        if self._part.header.lower() == b"content-disposition":
            _, options = parse_options_header(self._part.value)
            self._part.name = options.get(b"name", b"").decode("utf-8", "replace")
            self._part.is_file = self._part.name == "file"
        self._part.header = self._part.value = b""

    def _headers_finished(self) -> None:
        self.opened = self._part.is_file

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part.is_file:
            self.pending += memoryview(data)[start:end]
            self.form.size += end - start
            return
        self._part.data += memoryview(data)[start:end]
        if len(self._part.data) > MAX_FIELD_BYTES:
            raise TooLarge(f"a field of the form is over {MAX_FIELD_BYTES} bytes")

    def _end(self) -> None:
        if not self._part.is_file:
            if self._part.name in self.form.fields:
                raise ValueError(f"the form has two fields named {self._part.name[:60]!a}")
            self.form.fields[self._part.name] = self._part.data.decode("utf-8", "replace")

    def _finish(self) -> None:
        self.finished = True


async def receive(
    content_type: str,
    pieces: AsyncIterator[bytes],
    path: Path,
    most_bytes: int,
    admit: Callable[[dict[str, str]], Awaitable[None]],
    clock: Callable[[], float] = time.monotonic,
) -> Form:
    """Read a form. `admit` is called with the fields before the first byte of the file is kept, and may raise. Raises
    TooLarge, TimeoutError where the sender is too slow, ValueError where the form is broken or ends early."""
    reader, admitted, began_s, total = _Reader(content_type), False, clock(), 0
    with await asyncio.to_thread(path.open, "wb") as file:
        while not reader.finished:
            try:
                piece = await asyncio.wait_for(anext(pieces), SILENCE_S)
            except StopAsyncIteration:
                raise ValueError("the form ended before its file did") from None
            total += len(piece)
            _check_pace(clock() - began_s, total)
            reader.feed(piece)
            if reader.opened and not admitted:
                await admit(reader.form.fields)
                admitted = True
            if reader.form.size > most_bytes:
                raise TooLarge(f"the file is over {most_bytes} bytes")
            if len(reader.pending) >= WRITE_BYTES or reader.finished:
                await asyncio.to_thread(file.write, bytes(reader.pending))
                reader.pending.clear()
    if not admitted:
        raise ValueError("the form has no part named file")
    return reader.form


def _check_pace(elapsed_s: float, total: int) -> None:
    if elapsed_s > GRACE_S and total < (elapsed_s - GRACE_S) * LEAST_BYTES_PER_S:
        raise TimeoutError
