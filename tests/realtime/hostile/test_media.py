"""Hostile media at a real server, by every door: a 400 in one line, nothing kept, memory flat, others served."""

from __future__ import annotations

import http.server
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from tests.realtime.hostile.conftest import ended, ordered
from tests.realtime.hostile.files import (
    HLS,
    SVG,
    Hostile,
    broken_inside,
    films,
    patched,
    pictures,
    png,
    sounds,
    wav,
    zipped,
)
from tests.realtime.hostile.watching import FLAT_BYTES, left, watched
from tests.realtime.runway.media import data_uri, film, sound
from tests.realtime.serve_tasks import TaskServer

KINDS = {"image": ("portrait", "image"), "video": ("soundtrack", "video"), "audio": ("isolate", "audio")}
QUICK_S = 0.5  # to answer others: the machine is shared


class Files(http.server.BaseHTTPRequestHandler):
    """Serves what the test puts into `content`, with the type that a path names: /image/png."""

    content: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        kind, content = self.path.strip("/").rpartition("/")[0], self.content.get(self.path)
        self.send_response(200 if content is not None else 404)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """A server of files."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{found.server_address[1]}"
        found.shutdown()
        thread.join()


def test_every_file_is_refused_and_leaves_nothing(
    server: TaskServer, client: httpx.Client, task: str, data: Path
) -> None:
    before = left(data)
    with watched(server.process.pid, server.url, task) as watch:
        for hostile in [*pictures(), *films(), *sounds()]:
            kind, name = KINDS[hostile.wanted]
            answer = ordered(client, kind, {name: data_uri(hostile.media_type, hostile.content)})
            assert answer.status_code == 400, (hostile.name, answer.text)
            message = answer.json()["error"]["message"]
            assert "Invalid asset" in message, (hostile.name, message)
            assert "\n" not in message
            assert "/" + data.name not in message  # nothing of where things lie
            assert "Traceback" not in message
    assert left(data) == before
    assert watch.growth < FLAT_BYTES, f"{watch.growth / 2**20:.0f} MiB"
    assert watch.troubles == []
    assert watch.slow_s() < QUICK_S, sorted(watch.answers_s)[-5:]


def test_what_only_decoding_tells_fails_with_a_code(
    server: TaskServer, client: httpx.Client, task: str, data: Path
) -> None:
    for kind, name, uri in (  # what these jobs load stays
        ("isolate", "audio", data_uri("audio/wav", sound())),
        ("join", "video0", data_uri("video/mp4", film())),
    ):
        assert ended(client, ordered(client, kind, {name: uri}).json()["id"])["state"] == "SUCCEEDED"
    before = left(data)
    with watched(server.process.pid, server.url, task) as watch:
        for hostile in broken_inside():
            kind, name = ("join", "video0") if hostile.wanted == "video" else KINDS[hostile.wanted]
            params: dict[str, Any] = {"width": 64, "height": 64} if kind == "portrait" else {}
            answer = ordered(client, kind, {name: data_uri(hostile.media_type, hostile.content)}, params)
            if answer.status_code == 400:
                assert "Invalid asset" in answer.text, hostile.name
                continue
            found = ended(client, answer.json()["id"])
            if found["state"] == "FAILED":
                code, failure = str(found["failure_code"]), str(found["failure"])
                assert code.startswith(("INPUT_PREPROCESSING", "ASSET")), (hostile.name, code)
                assert "\n" not in failure
                assert str(data) not in failure
            assert client.delete(f"/api/tasks/{found['id']}").status_code == 204
    assert left(data) == before
    assert watch.growth < 3 * FLAT_BYTES, f"{watch.growth / 2**20:.0f} MiB"  # a real picture of 30 million pixels
    assert watch.after - watch.before < FLAT_BYTES
    assert watch.troubles == []


def by_data(client: httpx.Client, elsewhere: str, hostile: Hostile) -> str:
    return data_uri(hostile.media_type, hostile.content)


def by_upload(client: httpx.Client, elsewhere: str, hostile: Hostile) -> str:
    given = client.post("/v1/uploads", json={"filename": "picture.png", "type": "ephemeral"}).json()
    content = hostile.content + bytes(max(0, 512 - len(hostile.content)))
    files = {"file": ("picture.png", io.BytesIO(content), hostile.media_type)}
    assert httpx.post(given["uploadUrl"], data=given["fields"], files=files, timeout=30.0).status_code == 204
    return str(given["runwayUri"])


def by_http(client: httpx.Client, elsewhere: str, hostile: Hostile) -> str:
    path = f"/{hostile.media_type}/{len(Files.content)}"
    Files.content[path] = hostile.content
    return elsewhere + path


def image_doors(uri: str) -> list[tuple[str, dict[str, Any], list[str | int]]]:
    """Every kind of route that takes a picture, its body, and where the picture stands in it."""
    voice = {"type": "runway-live-preset", "presetId": "victoria"}
    return [
        ("/v1/image_to_video", {"model": "gen4_turbo", "promptImage": uri, "ratio": "1280:720"}, ["promptImage"]),
        (
            "/v1/avatars",
            {"name": "A", "referenceImage": uri, "personality": "Kind.", "voice": voice},
            ["referenceImage"],
        ),
        (
            "/v1/recipes/product_campaign_image",
            {"version": "2026-06", "image": {"uri": uri}, "prompt": "At sea"},
            ["image", "uri"],
        ),
    ]


@pytest.mark.parametrize("way", [by_data, by_upload, by_http])
@pytest.mark.parametrize(
    "hostile",
    [
        Hostile("bomb", png(60_000, 60_000), "image/png", "image"),
        Hostile("svg", SVG, "image/svg+xml", "image"),
        Hostile("zip", zipped("x", bytes(2**20)), "image/png", "image"),
    ],
    ids=str,
)
def test_pictures_at_every_door(
    client: httpx.Client, elsewhere: str, data: Path, task: str, hostile: Hostile, way: Any
) -> None:
    uri = way(client, elsewhere, hostile)
    before = left(data)
    for path, body, place in image_doors(uri):
        answer = client.post(path, json=body)
        assert answer.status_code == 400, (path, answer.text)
        assert [issue["path"] for issue in answer.json()["issues"]] == [place], answer.text
        assert answer.json()["error"] == "Validation of body failed"
    assert left(data) == before


@pytest.mark.parametrize("way", [by_data, by_upload, by_http])
def test_films_and_sounds_at_every_door(client: httpx.Client, elsewhere: str, data: Path, task: str, way: Any) -> None:
    bomb = way(client, elsewhere, Hostile("bomb", patched(film(), b"stsz", 8, 0x3FFF_FFFF), "video/mp4", "video"))
    playlist = way(client, elsewhere, Hostile("playlist", HLS, "video/mp4", "video"))
    hours = way(client, elsewhere, Hostile("hours", wav(1, 20_000), "audio/wav", "audio"))
    before = left(data)
    for uri in (bomb, playlist):
        body = {"model": "gen4_aleph", "videoUri": uri, "promptText": "Snow"}
        answer = client.post("/v1/video_to_video", json=body)
        assert (answer.status_code, answer.json()["issues"][0]["path"]) == (400, ["videoUri"]), answer.text
    for path, body, place in (
        ("/v1/voices", {"name": "V", "from": {"type": "audio", "audio": hours}}, ["from", "audio"]),
        ("/v1/voice_isolation", {"model": "eleven_voice_isolation", "audioUri": hours}, ["audioUri"]),
    ):
        answer = client.post(path, json=body)
        assert (answer.status_code, answer.json()["issues"][0]["path"]) == (400, place), answer.text
    assert left(data) == before


def test_a_request_whose_second_picture_is_bad_keeps_neither(client: httpx.Client, data: Path, task: str) -> None:
    good, bad = data_uri("image/png", png(64, 64, rows=bytes(65 * 64))), data_uri("image/png", png(60_000, 60_000))
    before = left(data)
    images = [{"uri": good}, {"uri": bad}]
    body = {"version": "2026-06", "productImages": images, "productInfo": "A cup"}
    answer = client.post("/v1/recipes/product_ad", json=body)
    assert answer.json()["issues"][0]["path"] == ["productImages", 1, "uri"], answer.text
    both = ordered(client, "portrait", {"image": good, "mask": bad})
    assert both.status_code == 400
    assert left(data) == before
