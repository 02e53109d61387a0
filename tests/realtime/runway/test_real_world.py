"""From the official SDK to a film: a real server with its real jobs and the embedded world, nothing stood in for."""

from __future__ import annotations

import asyncio
import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import httpx
from PIL import Image
from runwayml import AsyncRunwayML

from tests.realtime.runway import media
from tests.realtime.serve_tasks import task_server


async def done(client: AsyncRunwayML, id: str) -> Any:
    async with asyncio.timeout(120.0):
        while True:
            task = await client.tasks.retrieve(id)
            if task.status not in ("PENDING", "THROTTLED", "RUNNING"):
                return task
            await asyncio.sleep(0.1)


async def fetched(task: Any) -> bytes:
    assert task.status == "SUCCEEDED", task
    async with httpx.AsyncClient() as bare:
        answer = await bare.get(task.output[0])
    assert answer.status_code == 200
    return answer.content


async def test_a_picture_then_a_film_of_it_then_its_voice(tmp_path: Path) -> None:
    with task_server(tmp_path, "--engine", "openvino") as server:
        async with AsyncRunwayML(api_key="key", base_url=server.url, _strict_response_validation=True) as client:
            still = await client.text_to_image.create(
                model="gen4_image_turbo",
                prompt_text="A snowy valley at dusk",
                ratio="720:720",
                seed=7,
                reference_images=[{"uri": media.media()["image"], "tag": "place"}],
            )
            speech = await client.text_to_speech.create(
                model="eleven_multilingual_v2",
                prompt_text="Here we are.",
                voice={"type": "runway-preset", "preset_id": "Maya"},
            )
            drawn = await done(client, still.id)
            picture = await fetched(drawn)
            assert Image.open(io.BytesIO(picture)).size == (720, 720)
            clip = await client.image_to_video.create(
                model="gen4_turbo",
                prompt_image=media.data_uri("image/png", picture),
                prompt_text="Walk on",
                ratio="832:1104",
                duration=2,
                seed=11,
            )
            filmed = await done(client, clip.id)
            film = await fetched(filmed)
            said = await fetched(await done(client, speech.id))
    assert filmed.metadata["requested"] == "gen4_turbo"
    assert filmed.metadata["model"] not in ("", "stand-in")
    assert filmed.metadata["seed"] == 11
    with av.open(io.BytesIO(film), "r") as container:
        stream = container.streams.video[0]
        frames = sum(1 for _ in container.decode(stream))
        assert (stream.width, stream.height) == (832, 1104)
        assert stream.average_rate is not None
        assert abs(Fraction(frames) / stream.average_rate - 2) <= 1 / stream.average_rate
    with av.open(io.BytesIO(said), "r") as container:
        assert container.duration is not None
        assert 0.3 < container.duration / av.time_base < 5
