"""The same page walks an open checkpoint: random weights in the published layout, served by the real command."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.visiting import FakeServer, Visit
from worldstream.realtime import cli

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.browser]

COMMAND = ("-m", "worldstream.realtime.cli")


def command(*arguments: str) -> None:
    """`worldstream …` as an operator would, but in this process: tests/realtime/test_cli_models.py has it in others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", dict(os.environ))
        assert cli.main(arguments) == 0


def serving(tmp_path: Path, preset: str, *flags: str) -> FakeServer:
    """A tiny checkpoint, synthesized, added and served."""
    data, folder = tmp_path / "data", tmp_path / preset
    command("models", "synthesize", preset, "--out", str(folder))
    command("models", "add", str(folder), "--as", preset, "--data", str(data))
    server = FakeServer(tmp_path / "log", program=(*COMMAND, "serve"))
    server.start("--data", str(data), "--world", preset, "--size", "96x64", *flags)
    return server


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServer]:
    server = serving(tmp_path_factory.mktemp("game"), "matrix-game-2-universal")
    yield server
    server.kill()


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServer]:
    server = serving(tmp_path_factory.mktemp("words"), "self-forcing", "--engine", "eager")
    yield server
    server.kill()


async def test_a_game_is_walked_with_the_keys(visit: Any, game: FakeServer) -> None:
    tab: Visit = await (await visit(host=game)).open("?transport=websocket")
    assert await tab.page.locator("#first-image").is_visible(), "it begins from pictures"
    await tab.enter("forest at dawn", seed=11)
    await tab.state("live")
    await tab.changes(lambda: tab.ask("lastFrame?.frame"))
    assert not await tab.page.locator('[data-do="describe"]').is_visible(), "it takes no words on the way"
    await tab.page.keyboard.down("w")
    await tab.until("worldstream.lastInput >= 1 && worldstream.lastFrame.input === worldstream.lastInput")
    await tab.page.keyboard.up("w")
    await tab.page.goto("about:blank")
    game.wait_until_empty()


async def test_a_world_of_words_has_no_keys_to_walk(visit: Any, words: FakeServer) -> None:
    tab: Visit = await (await visit(host=words)).open("?transport=websocket")
    assert not await tab.page.locator("#first-image").is_visible()
    assert "steered by words alone" in await tab.page.inner_text("#facts")
    await tab.enter("a red forest", seed=3)
    await tab.state("live")
    await tab.changes(lambda: tab.ask("lastFrame?.frame"))
    assert await tab.page.locator('[data-do="describe"]').count() == 1
    assert not await tab.page.evaluate("document.querySelector('#legend [data-needs=walk]').checkVisibility()")
    await tab.page.goto("about:blank")
    words.wait_until_empty()
