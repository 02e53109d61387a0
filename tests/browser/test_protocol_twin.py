"""protocol.js and realtime/protocol.py are twins: what one writes, the other reads."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.browser.visiting import Visit
from worldstream.realtime import protocol

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.browser]


async def test_pictures_read_the_same(visit: Any) -> None:
    tab: Visit = await (await visit()).open()
    for sent in (
        protocol.Picture(protocol.KIND_JPEG, True, 0, 0, 0.0, 0.0, b"\xff\xd8"),
        protocol.Picture(protocol.KIND_H264, False, 2**32 - 1, 2**31 + 5, 12.5, 1e6 / 3, bytes(range(256))),
    ):
        read = await tab.page.evaluate(
            """async (bytes) => {
                const { decodePicture } = await import("/app/protocol.js");
                const picture = decodePicture(new Uint8Array(bytes).buffer);
                return picture && { ...picture, payload: [...picture.payload] };
            }""",
            list(protocol.encode_picture(sent)),
        )
        assert read == {
            "kind": sent.kind,
            "keyframe": sent.keyframe,
            "frame": sent.frame,
            "input": sent.input,
            "serverMs": sent.server_ms,
            "mediaTime": pytest.approx(sent.media_time, rel=1e-15),
            "payload": list(sent.payload),
        }


async def test_nonsense_is_not_a_picture(visit: Any) -> None:
    tab: Visit = await (await visit()).open()
    assert await tab.page.evaluate(
        """async () => {
            const { decode, decodePicture } = await import("/app/protocol.js");
            const wrong = ["", "null", "[]", "{", '{"type": 5}', 7, null];
            return decodePicture(new ArrayBuffer(23)) === null && decodePicture(new ArrayBuffer(64)) === null
                && wrong.every((text) => decode(text) === null);
        }"""
    )


async def test_what_the_page_says_is_understood(visit: Any) -> None:
    tab: Visit = await visit()
    said: list[str] = []

    def listen(socket: Any) -> None:
        socket.on("framesent", lambda payload: said.append(payload))

    tab.page.on("websocket", listen)
    await tab.open("?transport=websocket")
    await tab.enter("x" * 600, seed=2**31 - 1)
    await tab.state("live")
    await tab.page.keyboard.press("ArrowUp")
    await tab.until("worldstream.a2p.length > 0")
    await tab.until("worldstream.timeline?.now > 0")
    await tab.page.keyboard.press("z")
    await tab.hide(True)
    await tab.hide(False)
    await tab.page.keyboard.press("r")
    await tab.page.click("[data-do=leave]")
    await tab.state("ended")
    kinds = {type(protocol.decode_client(text)) for text in said}
    expected = {
        protocol.Hello,
        protocol.Input,
        protocol.Shown,
        protocol.Pause,
        protocol.Resume,
        protocol.Reset,
        protocol.Rewind,
        protocol.Bye,
    }
    assert kinds == expected
    assert len(json.loads(said[0])["prompt"]) == protocol.MAX_PROMPT_CHARS
