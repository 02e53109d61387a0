"""A local stand-in for OpenAI-compatible speech, transcription and chat endpoints, for tests."""

from __future__ import annotations

import io
import json
import threading
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np


class FakeService:
    """What it was asked, and what it answers. `failing` makes every answer that status."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bytes]] = []  # path, authorization, body
        self.failing = 0
        self.segments = [(0.5, 1.5, "good morning"), (2.0, 3.0, "how are you")]
        self.translation: Any = None  # what chat answers; None translates into capitals
        self.url = ""

    def speech(self, body: bytes) -> bytes:
        """A tone of 16-bit WAV whose header states no length, as streaming services send it."""
        speed = float(json.loads(body)["speed"])
        at = np.arange(int(24000 * 1.0 / speed)) / 24000
        out = io.BytesIO()
        with wave.open(out, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(24000)
            file.writeframes((np.sin(2 * np.pi * 220 * at) * 12000).astype("<i2").tobytes())
        data = bytearray(out.getvalue())
        data[40:44] = b"\xff\xff\xff\xff"
        return bytes(data)

    def transcription(self) -> bytes:
        segments = [{"start": a, "end": b, "text": f" {text}"} for a, b, text in self.segments]
        return json.dumps({"text": "…", "segments": segments}).encode()

    def chat(self, body: bytes) -> bytes:
        texts = json.loads(json.loads(body)["messages"][-1]["content"])
        said = [text.upper() for text in texts] if self.translation is None else self.translation
        answer = f"Here you are:\n```json\n{json.dumps(said)}\n```"
        return json.dumps({"choices": [{"message": {"role": "assistant", "content": answer}}]}).encode()

    def answer(self, path: str, authorization: str, body: bytes) -> tuple[int, bytes]:
        self.asked.append((path, authorization, body))
        if self.failing:
            return self.failing, b'{"error": {"message": "not\ntoday"}}'
        if path.endswith("/audio/speech"):
            return 200, self.speech(body)
        if path.endswith("/audio/transcriptions"):
            return 200, self.transcription()
        return 200, self.chat(body)


@contextmanager
def serving(service: FakeService) -> Iterator[FakeService]:
    """The service on a loopback port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, said = service.answer(self.path, self.headers.get("authorization", ""), body)
            self.send_response(status)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
