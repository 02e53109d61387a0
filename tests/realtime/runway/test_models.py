"""The local catalogue: prices, the operator's file, names of one's own; and sizes."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from tests.realtime.runway.doubles import MemoryBoard
from worldstream.realtime.runway import value_sets
from worldstream.realtime.runway.app import furnish
from worldstream.realtime.runway.models import FILE, Alias, Catalogue, read_catalogue, surcharge
from worldstream.realtime.runway.sizes import aspect_of, size_of
from worldstream.realtime.services import Services


def written(folder: Path, content: object) -> Path:
    path = folder / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_prices_add_up() -> None:
    assert Alias(credits_per_second=12).cost(seconds=10) == 120
    assert Alias(credits_per_second=5, least_seconds=3).cost(seconds=1) == 15
    assert Alias(credits_per_1000_characters=20).cost(characters=51) == 2
    assert Alias(credits_per_picture=8, credits_per_task=1).cost(pictures=3) == 25
    assert Alias(credits_per_second=0.1).cost(seconds=30) == 3  # no cent for rounding
    assert Alias(credits_per_second=12).cost(seconds=2, surcharge=surcharge("hlg", 1280, 720)) == 64
    assert [surcharge(f, 2560, 1440) for f in ("mp4", "prores", "hdr10")] == [0, 5, 20]
    assert surcharge("hdr10", 3840, 2160) == 40


async def test_the_operator_decides(
    client: httpx.AsyncClient, bare: FastAPI, services: Services, tmp_path: Path
) -> None:
    catalogue = read_catalogue(
        written(
            tmp_path,
            {
                "gen4.5": {"model": "alps", "credits_per_second": 0, "concurrency": 7},
                "my-film": {"like": "gen4_turbo", "model": "/checkpoints/film", "credits_per_second": 1},
            },
        )
    )
    furnish(bare, services, catalogue)
    board = services.tasks
    assert isinstance(board, MemoryBoard)
    assert catalogue.concurrency["gen4.5"] == 7
    assert catalogue.places == {"gen4.5": 7, "my-film": 2}
    clip = {"model": "gen4.5", "promptText": "x", "ratio": "1280:720", "duration": 4}
    reply = (await client.post("/v1/text_to_video", json=clip)).json()
    assert reply["estimatedCost"] == {"credits": 0}
    assert reply["metadata"] == {"requested": "gen4.5", "model": "alps"}
    assert board.created[-1].params["model"] == "alps"
    image = "data:image/png;base64,AAAA"
    turbo = {"model": "my-film", "promptImage": image, "ratio": "nonsense"}
    refused = (await client.post("/v1/image_to_video", json=turbo)).json()
    assert refused["issues"][0]["path"] == ["ratio"]
    reply = (await client.post("/v1/text_to_video", json=clip | {"model": "my-film"})).json()
    assert reply["issues"][0]["path"] == ["model"]


async def test_a_name_of_ones_own_takes_the_members_of_another(
    client: httpx.AsyncClient, bare: FastAPI, services: Services
) -> None:
    furnish(bare, services, Catalogue({"my-film": Alias(like="gen4.5", model="film", credits_per_second=1)}))
    clip = {"model": "my-film", "promptText": "x", "ratio": "1280:720", "duration": 4}
    reply = (await client.post("/v1/text_to_video", json=clip)).json()
    assert reply["metadata"] == {"requested": "my-film", "model": "film"}
    assert reply["estimatedCost"] == {"credits": 4}
    task = (await client.get(f"/v1/tasks/{reply['id']}")).json()
    assert task["metadata"]["requested"] == "my-film"
    assert task["metadata"]["model"] == "nano"  # which really ran


def test_a_name_of_ones_own_inherits(tmp_path: Path) -> None:
    catalogue = read_catalogue(written(tmp_path, {"quick": {"like": "gen4_turbo", "concurrency": 1}}))
    assert catalogue.of("quick") == Alias(like="gen4_turbo", credits_per_second=5, draft=True, concurrency=1)
    assert catalogue.stands_for("quick") == "gen4_turbo"
    assert catalogue.stands_for("gen4.5") == "gen4.5"
    assert catalogue.of("klingO3_pro", "clip").credits_per_second == 12


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "aliases.json"),
        ([], "object of names"),
        ({"a": 1}, "a must be an object"),
        ({"a": {"price": 1}}, "no member 'price'"),
        ({"a": {"concurrency": 0}}, "at least 1, not 0"),
        ({"a": {"concurrency": True}}, "must be int"),
        ({"a": {"credits_per_second": -1}}, "not -1"),
        ({"a": {"credits_per_second": "1"}}, "must be float, not '1'"),
        ('{"a": {"credits_per_second": NaN}}', "not nan"),
        ({"a": {"model": 3}}, "must be str"),
    ],
)
def test_a_bad_file_says_what_is_wrong(tmp_path: Path, content: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_catalogue(written(tmp_path, content))


@pytest.mark.parametrize(
    ("ratio", "resolution", "source", "size"),
    [
        ("1280:720", "", (0, 0), (1280, 720)),
        ("1:1", "", (0, 0), (720, 720)),
        ("21:9", "2k", (0, 0), (3360, 1440)),
        ("9:16", "1080p", (0, 0), (1080, 1920)),
        ("adaptive", "768P", (1000, 1000), (768, 768)),
        ("auto_480p", "", (720, 1280), (480, 854)),
        ("auto_2k", "", (0, 0), (2730, 1536)),
        ("", "720p", (10, 1000), (720, 2880)),
        ("auto", "", (0, 0), (1280, 720)),
    ],
)
def test_sizes(ratio: str, resolution: str, source: tuple[int, int], size: tuple[int, int]) -> None:
    assert size_of(ratio, resolution, source) == size


def test_a_ratio_of_pixels_is_the_size_itself() -> None:
    names = [name for name in vars(value_sets) if name.startswith(("R", "S")) and name[1:].isdigit()]
    assert len(names) == 28
    for name in names:
        for ratio in getattr(value_sets, name):
            width, height = size_of(ratio)
            assert width % 2 == height % 2 == 0
            if min(map(int, ratio.split(":"))) > 99 if ratio.replace(":", "").isdigit() else False:
                assert f"{width}:{height}" == ratio


def test_shapes() -> None:
    assert aspect_of("1280:720") == "16:9"
    assert aspect_of("960:960") == "1:1"
    assert aspect_of("adaptive") == aspect_of("auto_720p") == ""
