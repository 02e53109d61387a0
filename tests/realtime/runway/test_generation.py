"""From a request to the order of a job: what each endpoint asks of this machine, and what it refuses."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.realtime.runway.doubles import MemoryBoard, StrictDoor
from tests.realtime.runway.media import UUID, data_uri, example, film, media, picture, sound
from tests.realtime.runway.sdk_shapes import requests
from worldstream.realtime.jobs.kinds import KINDS
from worldstream.realtime.runway.generation_routes import ENDPOINTS
from worldstream.realtime.services import Services
from worldstream.realtime.tasks import NewTask

ABSENT = {"character_performance", "avatar_videos", "robotics_action_to_video", "voice_dubbing"}
IMG, VID, AUD = media()["image"], media()["video"], media()["audio"]
VOICE = {"type": "runway-preset", "presetId": "Maya"}


@pytest.fixture
def board(services: Services) -> MemoryBoard:
    assert isinstance(services.tasks, MemoryBoard)
    return services.tasks


async def ordered(client: httpx.AsyncClient, board: MemoryBoard, endpoint: str, body: dict[str, Any]) -> NewTask:
    answer = await client.post(f"/v1/{endpoint}", json=body)
    assert answer.status_code == 200, answer.text
    new = board.created[-1]
    assert answer.json()["estimatedCost"]["credits"] == new.credits
    assert answer.json()["id"] in board.tasks
    assert new.kind in KINDS
    return new


async def refused(client: httpx.AsyncClient, endpoint: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await client.post(f"/v1/{endpoint}", json=body)
    assert answer.status_code == 400, answer.text
    found: list[dict[str, Any]] = answer.json()["issues"]
    return found


@pytest.mark.parametrize("full", [False, True], ids=["required", "full"])
@pytest.mark.parametrize("endpoint", [name for name in ENDPOINTS if name not in ABSENT])
async def test_every_model_is_answered(
    client: httpx.AsyncClient, board: MemoryBoard, endpoint: str, full: bool
) -> None:
    for model, shape in requests(endpoint):
        new = await ordered(client, board, endpoint, example(endpoint, model, shape, full=full))
        assert new.model == model
        assert new.endpoint == f"/v1/{endpoint}"


TURBO = {"model": "gen4_turbo", "promptImage": IMG, "ratio": "1280:720"}
CLIP = {"model": "gen4.5", "promptText": "A lake", "ratio": "720:1280", "duration": 4}
EDIT = {"model": "aleph2", "videoUri": VID}


@pytest.mark.parametrize(
    ("endpoint", "body", "kind", "params", "inputs", "credits"),
    [
        (
            "text_to_video",
            CLIP | {"seed": 5, "outputFormat": "prores", "proresProfile": "422"},
            "clip",
            {"prompt": "A lake", "seconds": 4, "width": 720, "height": 1280, "seed": 5, "format": "prores",
             "prores_profile": "422"},
            set(),
            4 * 17,
        ),
        (
            "image_to_video",
            TURBO | {"seed": 0},
            "clip",
            {"prompt": "", "seconds": 5, "width": 1280, "height": 720, "seed": 0, "draft": True},
            {"first"},
            25,
        ),
        (
            "image_to_video",
            {"model": "veo3.1", "ratio": "1920:1080", "duration": 8, "seed": 1, "negativePrompt": "rain",
             "promptImage": [{"uri": IMG, "position": "last"}, {"uri": IMG, "position": "first"}]},
            "clip",
            {"prompt": "", "seconds": 8, "width": 1920, "height": 1080, "seed": 1, "ignored": ["negativePrompt"]},
            {"first", "last"},
            96,
        ),
        (
            "text_to_video",
            {"model": "kling3.0_pro", "ratio": "1080:1920", "audio": True,
             "providerSettings": {"multiPrompt": [{"duration": 2, "prompt": "a"}, {"duration": 4, "prompt": "b"}]}},
            "clip",
            {"prompt": "", "seconds": 6, "width": 1080, "height": 1920, "audio": True,
             "moments": [{"at_s": 0.0, "prompt": "a"}, {"at_s": 2.0, "prompt": "b"}]},
            set(),
            72,
        ),
        (
            "text_to_video",
            {"model": "hailuo3", "promptText": "x", "ratio": "9:16", "resolution": "768P"},
            "clip",
            {"prompt": "x", "seconds": 5, "width": 768, "height": 1366},
            set(),
            60,
        ),
        (
            "video_to_video",
            EDIT | {"promptText": "snow", "seed": 2, "targetAspectRatio": "9:16", "ratio": "whatever",
                    "keyframes": [{"uri": IMG, "at": 0.5, "range": {"start_seconds": 1, "end_seconds": 2}},
                                  {"uri": IMG, "seconds": 0, "range": {"start_seconds": 0, "end_seconds": 1}}]},
            "edit",
            {"prompt": "snow", "seed": 2, "aspect": "9:16",
             "keyframes": [{"input": "key0", "at_s": 1.5, "start_s": 1, "end_s": 2},
                           {"input": "key1", "at_s": 0, "start_s": 0, "end_s": 1}]},
            {"video", "key0", "key1"},
            84,
        ),
        (
            "video_to_video",
            {"model": "seedance2_5", "promptVideo": VID, "mode": "extend", "duration": 6, "seed": 1},
            "edit",
            {"seed": 1, "operation": "extend", "seconds": 6},
            {"video"},
            90,
        ),
        (
            "text_to_image",
            {"model": "gen4_image", "promptText": "@hero at sea", "ratio": "1808:768", "seed": 9,
             "referenceImages": [{"uri": IMG, "tag": "hero"}, {"uri": IMG}]},
            "still",
            {"prompt": "@hero at sea", "width": 1808, "height": 768, "seed": 9,
             "references": [{"input": "ref0", "tag": "hero"}, {"input": "ref1", "tag": "image_2"}]},
            {"ref0", "ref1"},
            8,
        ),
        (
            "text_to_image",
            {"model": "gpt_image_2", "promptText": "x", "ratio": "auto", "outputCount": 3, "quality": "low"},
            "still",
            {"prompt": "x", "count": 3, "quality": "low"},
            set(),
            15,
        ),
        (
            "image_upscale",
            {"model": "magnific_precision_upscaler_v2", "imageUri": IMG, "scaleFactor": 4, "sharpen": 50,
             "smartGrain": 20},
            "upscale_image",
            {"factor": 4, "sharpen": 0.5, "grain": 0.2},
            {"image"},
            10,
        ),
        (
            "video_upscale",
            {"model": "enhance_frame_rate", "videoUri": VID, "targetFramerate": "23_98"},
            "frame_rate",
            {"rate": "23_98"},
            {"video"},
            3,
        ),
        ("video_upscale", {"model": "upscale_v1", "videoUri": VID}, "upscale_video", {"factor": 4}, {"video"}, 6),
        (
            "video_upscale",
            {"model": "magnific_video_upscaler_creative", "videoUri": VID, "resolution": "1k", "fpsBoost": True,
             "smartGrain": 35},
            "upscale_video",
            {"width": 1920, "height": 1080, "boost_fps": True, "grain": 0.35},
            {"video"},
            6,
        ),
        ("video_to_hdr", {"model": "ruby", "videoUri": VID}, "hdr", {"format": "hdr10"}, {"video"}, 60),
        (
            "video_to_audio",
            {"model": "mirelo_sfx_2_0", "videoUri": VID, "duration": 9.5, "numVariants": 2, "format": "wav",
             "negativePrompt": "birds"},
            "soundtrack",
            {"seconds": 3, "variants": 2, "format": "wav", "negative": "birds"},
            {"video"},
            20,
        ),
        (
            "text_to_speech",
            {"model": "seed_audio", "promptText": "Hello 😀", "speechRate": 50, "pitchRate": -3, "loudnessRate": -50,
             "sampleRate": 24000, "outputFormat": "ogg_opus", "voice": {"type": "reference-audio", "audioUri": AUD}},
            "speech",
            {"text": "Hello 😀", "voice": "reference", "speed": 1.5, "pitch": -3, "volume": 0.5, "rate_hz": 24000,
             "format": "ogg_opus"},
            {"reference"},
            1,
        ),
        (
            "text_to_speech",
            {"model": "eleven_multilingual_v2", "promptText": "x" * 1000, "voice": VOICE},
            "speech",
            {"text": "x" * 1000, "voice": "Maya"},
            set(),
            20,
        ),
        (
            "sound_effect",
            {"model": "eleven_text_to_sound_v2", "promptText": "rain", "duration": 0.5, "loop": True},
            "sound",
            {"prompt": "rain", "seconds": 0.5, "loop": True},
            set(),
            1,
        ),
        (
            "speech_to_speech",
            {"model": "eleven_multilingual_sts_v2", "voice": VOICE, "media": {"type": "video", "uri": VID},
             "removeBackgroundNoise": True},
            "voice_change",
            {"voice": "Maya", "remove_noise": True},
            {"media"},
            3,
        ),
        ("voice_isolation", {"model": "eleven_voice_isolation", "audioUri": AUD}, "isolate", {}, {"audio"}, 1),
    ],
)  # fmt: skip
async def test_what_a_body_becomes(
    client: httpx.AsyncClient,
    board: MemoryBoard,
    door: StrictDoor,
    endpoint: str,
    body: dict[str, Any],
    kind: str,
    params: dict[str, Any],
    inputs: set[str],
    credits: int,
) -> None:
    new = await ordered(client, board, endpoint, body)
    assert new.kind == kind
    assert {name: new.params.get(name) for name in params} == params
    assert set(new.inputs) == inputs
    assert new.credits == credits
    assert door.charged[-1] == (new.owner, body["model"], credits)
    assert ("seed" in new.params) == (kind in ("clip", "still", "edit") or "seed" in body)
    for key in new.inputs.values():
        assert key.startswith("inputs/")
        assert await board.blobs.size(key) > 0


async def test_seeds_are_drawn_where_none_is_given(client: httpx.AsyncClient, board: MemoryBoard) -> None:
    seeds = {(await ordered(client, board, "text_to_video", CLIP)).params["seed"] for _ in range(3)}
    assert len(seeds) == 3


@pytest.mark.parametrize(
    ("endpoint", "body", "code", "path"),
    [
        ("text_to_video", CLIP | {"promptText": "😀" * 501}, "too_big", ["promptText"]),
        ("text_to_video", CLIP | {"promptText": ""}, "too_small", ["promptText"]),
        ("text_to_video", CLIP | {"seed": 2**32}, "too_big", ["seed"]),
        ("text_to_video", CLIP | {"seed": None}, "invalid_type", ["seed"]),
        ("text_to_video", CLIP | {"seed": "5"}, "invalid_type", ["seed"]),
        ("text_to_video", CLIP | {"seed": 1.5}, "invalid_type", ["seed"]),
        ("text_to_video", CLIP | {"duration": 11}, "too_big", ["duration"]),
        ("text_to_video", CLIP | {"ratio": "1584:672"}, "invalid_enum_value", ["ratio"]),
        ("text_to_video", CLIP | {"watermark": False}, "unrecognized_keys", []),
        ("text_to_video", CLIP | {"model": "gen5"}, "invalid_union_discriminator", ["model"]),
        ("text_to_video", {"promptText": "x"}, "invalid_type", ["model"]),
        ("text_to_video", CLIP | {"proresProfile": "422"}, "custom", []),
        ("text_to_video", {"model": "hailuo3", "promptText": "x",
                           "referenceVideos": [{"type": "video", "uri": VID}]}, "custom", ["referenceVideos"]),
        ("image_to_video", TURBO | {"promptImage": "lake.png"}, "invalid_string", ["promptImage"]),
        ("image_to_video", TURBO | {"promptImage": VID}, "invalid_string", ["promptImage"]),
        ("image_to_video", TURBO | {"promptImage": []}, "too_small", ["promptImage"]),
        ("image_to_video", TURBO | {"promptImage": [{"uri": IMG, "position": "last"}]}, "invalid_enum_value",
         ["promptImage", 0, "position"]),
        ("image_to_video", TURBO | {"promptImage": "data:image/png;base64," + "A" * 5_300_000}, "too_big",
         ["promptImage"]),
        ("image_to_video", TURBO | {"promptImage": "data:image/png;base64,AAAA*"}, "custom", ["promptImage"]),
        ("image_to_video", TURBO | {"promptImage": data_uri("image/png", sound())}, "custom", ["promptImage"]),
        ("image_to_video", TURBO | {"promptImage": "http://example.com/x.png"}, "custom", ["promptImage"]),
        ("image_to_video", TURBO | {"promptImage": f"runway://uploads/{UUID}"}, "custom", ["promptImage"]),
        ("video_to_video", EDIT | {"videoUri": data_uri("video/mp4", film(1.5))}, "too_small", ["videoUri"]),
        ("video_to_video", EDIT | {"videoUri": data_uri("video/mp4", film(31.0, fps=1))}, "too_big", ["videoUri"]),
        ("video_to_video", EDIT | {"videoUri": data_uri("video/mp4", picture())}, "custom", ["videoUri"]),
        ("video_to_video", EDIT | {"keyframes": [{"uri": IMG, "seconds": 29}]}, "too_big",
         ["keyframes", 0, "seconds"]),
        ("video_to_video", EDIT | {"keyframes": [{"uri": IMG, "at": 1.5}]}, "too_big", ["keyframes", 0, "at"]),
        ("video_to_video", EDIT | {"keyframes": [{"uri": IMG, "at": 0, "seconds": 0}]}, "unrecognized_keys",
         ["keyframes", 0]),
        ("video_to_video", EDIT | {"keyframes": [{"uri": IMG, "seconds": 1,
         "range": {"start_seconds": 2, "end_seconds": 3}}]}, "custom", ["keyframes"]),
        ("video_to_video", EDIT | {"keyframes": [{"uri": IMG, "at": 0}] * 6}, "too_big", ["keyframes"]),
        ("text_to_image", {"model": "gen4_image", "promptText": "x", "ratio": "1:1"}, "invalid_enum_value", ["ratio"]),
        ("text_to_image", {"model": "gen4_image", "promptText": "x", "ratio": "720:720",
                           "referenceImages": [{"uri": IMG, "tag": "Hero"}]}, "invalid_string",
         ["referenceImages", 0, "tag"]),
        ("text_to_image", {"model": "gen4_image_turbo", "promptText": "x", "ratio": "720:720"}, "invalid_type",
         ["referenceImages"]),
        ("text_to_speech", {"model": "eleven_multilingual_v2", "promptText": "x",
                            "voice": {"type": "preset", "presetId": "maya"}}, "invalid_enum_value", ["voice", "type"]),
        ("image_upscale", {"model": "magnific_precision_upscaler_v2", "scaleFactor": 16,
                           "imageUri": data_uri("image/png", picture(1280, 720))}, "too_big", ["scaleFactor"]),
        ("avatar_videos", {"model": "gwm1_avatars", "avatar": {"type": "runway-preset", "presetId": "influencer"},
                           "speech": {"type": "text", "text": "x", "voice": {"type": "preset", "presetId": "Maya"}}},
         "invalid_enum_value", ["speech", "voice", "presetId"]),
        ("avatar_videos", {"model": "gwm1_avatars", "avatar": {"type": "custom", "avatarId": UUID},
                           "speech": {"type": "audio"}}, "invalid_type", ["speech", "audio"]),
        ("robotics_action_to_video", {"model": "robotics_v1", "robotAction": [[0, 0, 0]], "promptImage": IMG},
         "too_small", ["robotAction", 0]),
        ("robotics_action_to_video", {"model": "robotics_v1", "robotAction": [[0.0] * 7]}, "custom", []),
    ],
)  # fmt: skip
async def test_what_is_refused(
    client: httpx.AsyncClient, board: MemoryBoard, endpoint: str, body: dict[str, Any], code: str, path: list[Any]
) -> None:
    issues = await refused(client, endpoint, body)
    assert {"code": code, "path": path} in [{"code": i["code"], "path": i["path"]} for i in issues], issues
    assert board.created == []
    assert await stored(board) == []


async def stored(board: MemoryBoard) -> list[str]:
    return [key async for key, _ in board.blobs.keys("")]


@pytest.mark.parametrize("endpoint", sorted(ABSENT))
async def test_what_no_model_here_can_do_says_so(
    client: httpx.AsyncClient, board: MemoryBoard, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORLDSTREAM_DUBBING_URL", raising=False)
    if endpoint == "robotics_action_to_video":
        body: dict[str, Any] = {"model": "robotics_v1", "robotAction": [[0] * 7] * 18, "promptImage": IMG, "seed": 0}
    else:
        ((model, shape),) = requests(endpoint.replace("avatar_videos", "avatar_video"))
        body = example(endpoint, model, shape, full=True)
    (issue,) = await refused(client, endpoint, body)
    assert issue["path"] == ["model"]
    assert ("WORLDSTREAM_DUBBING_URL" in issue["message"]) == (endpoint == "voice_dubbing")
    assert board.created == []


async def test_what_was_gathered_for_nothing_is_removed(
    client: httpx.AsyncClient, board: MemoryBoard, door: StrictDoor
) -> None:
    door.broke = True
    answer = await client.post("/v1/image_to_video", json=TURBO)
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": "You do not have enough credits to run this task."},
    )
    body = {"model": "gen4_image", "promptText": "x", "ratio": "720:720",
            "referenceImages": [{"uri": IMG}, {"uri": "https://localhost.invalid/x.png"}]}  # fmt: skip
    await refused(client, "text_to_image", body)
    assert await stored(board) == []


async def test_a_clients_second_try_says_so(client: httpx.AsyncClient, board: MemoryBoard) -> None:
    for tries in ("0", "1"):
        await client.post("/v1/text_to_video", json=CLIP, headers={"x-stainless-retry-count": tries})
    first, second = board.created
    assert first.retry_of == second.retry_of != ""
    assert (first.again, second.again) == (False, True)


async def test_many_at_once(client: httpx.AsyncClient, board: MemoryBoard) -> None:
    answers = await asyncio.gather(*(client.post("/v1/text_to_video", json=CLIP) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(board.tasks) == 50
