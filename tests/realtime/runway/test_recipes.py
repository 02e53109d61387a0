"""Recipes: what each becomes, and what is refused because no model here can do it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.realtime.runway.library_doubles import PICTURE, House, house
from worldstream.realtime.runway.models import Alias, Catalogue
from worldstream.realtime.workflows.graph import read_graph

VIDEO = "https://films.example/a.mp4"
JUNE = {"version": "2026-06"}
SHOTS = [
    {"prompt": "A fox wakes.", "duration": 3},
    {"prompt": "It runs.", "duration": 4},
    {"prompt": "It sleeps.", "duration": 3},
]


@pytest_asyncio.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as found:
        yield found


def graph_of(home: House) -> Any:
    order = home.board.created[-1]
    assert order.kind == "workflow"
    graph = read_graph(order.params["graph"])
    media = {node.id for node in graph.nodes if node.kind in ("image", "video", "audio")}
    assert media == set(order.inputs)  # every medium of the graph is given, and nothing else
    return graph


async def test_the_recipes_that_run(home: House) -> None:
    client = home.client()

    async def cook(name: str, **body: Any) -> Any:
        answer = await client.post(f"/recipes/{name}", json={**JUNE, **body})
        assert answer.status_code == 200, answer.text
        assert home.board.created[-1].model == name
        assert answer.json()["estimatedCost"]["credits"] == home.board.created[-1].credits
        return graph_of(home)

    graph = await cook("marketing_stock_image", prompt="A kettle.", referenceImage={"uri": PICTURE}, outputCount=2)
    (still,) = [node for node in graph.nodes if node.is_job]
    assert (still.kind, still.params["count"], still.params["quality"]) == ("still", 2, "high")
    assert still.params["references"] == [{"input": "ref0", "tag": "logo"}]
    assert home.board.created[-1].credits == 16

    graph = await cook("product_campaign_image", prompt="Gorpcore.", image={"uri": PICTURE})
    assert graph["pictures"].params["prompt"] == "Gorpcore. @product"

    graph = await cook("multi_shot_video", mode="custom", shots=SHOTS, ratio="720:1280", firstFrame={"uri": PICTURE})
    clips = [node for node in graph.nodes if node.kind == "clip"]
    assert [(c.params["prompt"], c.params["seconds"]) for c in clips] == [(s["prompt"], s["duration"]) for s in SHOTS]
    assert [list(clip.inputs) for clip in clips] == [["first"], [], []]
    assert (clips[0].params["width"], clips[0].params["height"]) == (720, 1280)
    assert graph.outputs == ("sound|film",)
    graph = await cook("multi_shot_video", mode="auto", prompt="A fox wakes.", duration=5, audio=False)
    assert len([node for node in graph.nodes if node.kind == "clip"]) == 5
    assert graph.outputs == ("film",)

    pictures = [{"uri": PICTURE}] * 4
    graph = await cook("product_ad", productImages=pictures, styleImages=pictures[:2], duration=7, version="2026-07")
    clips = [node for node in graph.nodes if node.kind == "clip"]
    assert [c.params["seconds"] for c in clips] == [3, 2, 2]
    assert [c.inputs["first"].node for c in clips] == ["image", "image_1", "image_2"]
    assert [r["tag"] for r in clips[1].params["references"]] == ["style", "style1"]
    assert clips[1].inputs["ref1"].node == "image_5"
    assert len(home.board.created[-1].inputs) == 6


async def test_what_no_model_here_can_do(home: House) -> None:
    client = home.client()
    picture = {"uri": PICTURE}
    orders: dict[str, dict[str, Any]] = {
        "ad_localization": {"referenceImage": picture, "targetLanguage": "ja"},
        "product_swap": {
            "referenceVideo": {"uri": VIDEO},
            "originalProductImage": picture,
            "newProductImages": [{**picture, "view": "front"}, picture],
        },
        "product_ugc": {"characterImage": picture, "productImage": picture, "userConcept": "Cheerful."},
    }
    for name, body in orders.items():
        answer = await client.post(f"/recipes/{name}", json={**JUNE, **body})
        assert answer.status_code == 400
        assert "aliases.json" in answer.json()["error"] or name == "ad_localization"
    assert home.board.created == []
    assert home.assets.gathered == []  # nothing was fetched for nothing

    vace = Alias(model="/models/vace")
    home.inner.state.catalogue = Catalogue({"product_swap": vace, "product_ugc": vace})
    assert (await client.post("/recipes/product_swap", json={**JUNE, **orders["product_swap"]})).status_code == 200
    graph = graph_of(home)
    edit = graph["shot0"]
    assert (edit.kind, edit.params["model"], graph["film"].params["width"]) == ("edit", "/models/vace", 1280)
    assert [r["tag"] for r in edit.params["references"]] == ["new0", "new1", "old"]
    assert [edit.inputs[f"ref{n}"].node for n in range(3)] == ["image_1", "image_2", "image"]
    assert "@new0 is its front view." in edit.params["prompt"]
    assert (await client.post("/recipes/product_ugc", json={**JUNE, **orders["product_ugc"]})).status_code == 200
    shot = graph_of(home)["shot0"]
    assert shot.params["model"] == "/models/vace"
    assert (shot.inputs["ref0"].node, shot.inputs["ref1"].node) == ("image", "image_1")


async def test_bad_recipes(home: House) -> None:
    client = home.client()
    for name, body, path in (
        ("multi_shot_video", {"mode": "custom", "shots": SHOTS, "duration": 5}, []),
        ("multi_shot_video", {"mode": "custom", "shots": SHOTS[:2]}, ["shots"]),
        ("multi_shot_video", {"mode": "auto", "prompt": "x" * 2501}, ["prompt"]),
        ("multi_shot_video", {"mode": "other"}, ["mode"]),
        ("multi_shot_video", {"mode": "auto", "prompt": "x", "version": "2026-07"}, ["version"]),
        ("marketing_stock_image", {"prompt": "x", "outputCount": 5}, ["outputCount"]),
        ("product_ad", {"productImages": []}, ["productImages"]),
        ("product_ad", {"productImages": [{"uri": PICTURE + "?missing"}]}, ["productImages", 0, "uri"]),
        ("ad_localization", {"referenceImage": {"uri": PICTURE}, "targetLanguage": "xx"}, ["targetLanguage"]),
    ):
        answer = await client.post(f"/recipes/{name}", json={**JUNE, **body})
        assert (answer.status_code, answer.json()["issues"][0]["path"]) == (400, path), answer.text


async def test_a_blind_second_try_fetches_nothing_again(home: House) -> None:
    client, body = home.client(), {**JUNE, "prompt": "Gorpcore.", "image": {"uri": PICTURE}}
    first = (await client.post("/recipes/product_campaign_image", json=body)).json()
    again = await client.post("/recipes/product_campaign_image", json=body, headers={"x-stainless-retry-count": "1"})
    assert again.json() == first
    assert home.assets.gathered == [PICTURE]
