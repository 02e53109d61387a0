"""A picture starts a world: chosen, dropped or pasted, at the landing or on the way; a broken one is said in words."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.async_api import FilePayload

from tests.browser.test_access import SIZES, find_faults
from tests.browser.test_timeline import shared_link, walk
from tests.browser.visiting import FakeServer, Visit
from worldstream.worlds.procedural.attributes import THEMES, Attributes
from worldstream.worlds.procedural.episodes import TEST_SEED, episode

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.browser]

GREEN, BLUE = (20, 160, 40), (20, 30, 220)  # the fake world takes green for a forest, and knows nothing blue


def png(colour: tuple[int, int, int] = GREEN) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (640, 384), colour).save(buffer, "PNG")
    return buffer.getvalue()


def file(content: bytes) -> FilePayload:
    return FilePayload(name="place.png", mimeType="image/png", buffer=content)


async def hand_over(tab: Visit, how: str, content: bytes) -> None:
    """What the browser does when somebody drops or pastes a file."""
    await tab.page.evaluate(
        """([how, data]) => {
            const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
            const files = new DataTransfer();
            files.items.add(new File([bytes], "place.png", { type: "image/png" }));
            const target = document.elementFromPoint(innerWidth / 2, innerHeight / 2);
            const say = (type) => target.dispatchEvent(how === "paste"
                ? new ClipboardEvent(type, { clipboardData: files, bubbles: true, cancelable: true })
                : new DragEvent(type, { dataTransfer: files, bubbles: true, cancelable: true }));
            if (how === "paste") return say("paste");
            say("dragenter");
            if (document.getElementById("drop-hint").hidden) throw new Error("no hint where to drop");
            say("dragover");
            say("drop");
            if (!document.getElementById("drop-hint").hidden) throw new Error("the hint stays");
        }""",
        [how, base64.b64encode(content).decode()],
    )


async def shows(tab: Visit, colour: tuple[int, int, int]) -> None:
    """Wait until the middle of the picture has about that colour."""

    async def close() -> bool:
        return max(abs(a - b) for a, b in zip(await tab.colour(), colour, strict=True)) < 30

    await tab.holds(close)


async def listen_for_choosers(tab: Visit) -> None:
    """`expect_file_chooser` does not wait until the browser listens: a key pressed at once would open a real dialog."""
    tab.page.on("filechooser", lambda _: None)
    await tab.ask("state")


@pytest.mark.parametrize("way", ["webrtc", "websocket"])
async def test_a_chosen_picture_is_where_the_walk_begins(visit: Any, way: str) -> None:
    tab: Visit = await (await visit()).open(f"?transport={way}")
    await tab.page.set_input_files("#image-file", files=[file(png())])
    await tab.page.wait_for_selector("#image-chosen:not([hidden])")
    assert "The model sees: forest" in await tab.page.inner_text("#image-lines")
    assert await tab.page.locator(".far").count() == 0
    assert await tab.page.input_value("#prompt") == "forest"
    await tab.until("document.getElementById('image-thumb').naturalWidth === 640")
    await tab.page.click("#enter")
    await tab.state("live")
    await shows(tab, GREEN)
    rest = await tab.green_at_rest()
    await tab.page.keyboard.down("w")
    await tab.green_leaves(rest)
    await tab.page.keyboard.up("w")
    world = await tab.ask("world")
    assert (world["caption"], world["familiar"], world["prompt"]) == ("forest", True, "forest")
    assert "from a picture" in await tab.page.inner_text("#said")
    await tab.page.keyboard.press("r")  # back to the start: the picture again
    await shows(tab, GREEN)


async def from_a_picture(visit: Any, way: str, **options: Any) -> Visit:
    """Walking in the world of a green picture."""
    tab: Visit = await (await visit(**options)).open(f"?transport={way}")
    await tab.page.set_input_files("#image-file", files=[file(png())])
    await tab.page.wait_for_selector("#image-chosen:not([hidden])")
    await tab.page.click("#enter")
    await tab.state("live")
    await tab.until("worldstream.timeline !== null && worldstream.world.image !== null")
    return tab


@pytest.mark.parametrize("way", ["webrtc", "websocket"])
async def test_a_walk_from_a_picture_is_shared_with_the_picture(visit: Any, way: str) -> None:
    first = await from_a_picture(visit, way)
    await walk(first, "w", 2.0)
    link = await shared_link(first)
    toast = await first.page.inner_text("#toast")
    assert "sees it again and can take over" in toast
    assert "not the picture" not in toast

    second: Visit = await visit()
    await second.page.goto(f"{link}&transport={way}")
    await second.until("worldstream.timeline?.replay > 12")
    await second.state("live")
    assert (await second.ask("world"))["prompt"] == "forest"
    await second.page.click("#take-over")
    await second.until("worldstream.timeline.replay === null")
    await second.page.keyboard.press("r")  # back to the start: the picture, which only the log holds
    await shows(second, GREEN)
    rest = await second.green_at_rest()
    await second.page.keyboard.down("w")
    await second.green_leaves(rest)
    await second.page.keyboard.up("w")
    again = await shared_link(second)
    third: Visit = await visit()
    await third.page.goto(f"{again}&transport={way}")
    await third.until("worldstream.timeline !== null && worldstream.state === 'live'")
    await third.page.keyboard.press("r")
    await shows(third, GREEN)


async def test_where_the_walk_cannot_be_kept_the_link_says_what_it_lacks(visit: Any) -> None:
    tab = await from_a_picture(visit, "websocket", forgiving=True)  # the console names every HTTP 500
    await tab.page.route("**/share", lambda route: route.fulfill(status=500, json={"error": {}}))
    await tab.page.click("[data-do=share]")
    await tab.until("document.getElementById('toast').innerText.includes('The link to this world is copied')")
    assert "It has the words and the seed, not the picture." in await tab.page.inner_text("#toast")
    assert "replay=" not in await tab.page.evaluate("navigator.clipboard.readText()")


async def test_a_picture_stands_in_for_words(visit: Any) -> None:
    """With a picture an empty box is not filled with words of chance: its caption is the prompt."""
    tab: Visit = await (await visit()).open("?transport=websocket")
    await tab.page.set_input_files("#image-file", files=[file(png())])
    await tab.page.wait_for_selector("#image-chosen:not([hidden])")
    await tab.page.fill("#prompt", "")
    await tab.page.click("#enter")
    await tab.state("live")
    await tab.until("worldstream.world.image !== null")
    assert (await tab.ask("world"))["prompt"] == "forest"
    assert await tab.page.input_value("#prompt") == ""


async def test_whoever_only_watches_brings_no_picture(visit: Any) -> None:
    player = await from_a_picture(visit, "websocket")
    viewer: Visit = await (await visit()).open("?transport=websocket")
    await viewer.page.set_input_files("#image-file", files=[file(png(BLUE))])
    await viewer.page.wait_for_selector(".far")
    await viewer.page.click("text=Just watch")
    await viewer.state("live")
    assert await viewer.ask("role") == "viewer"
    await shows(viewer, GREEN)
    assert (await viewer.ask("world"))["image"] == (await player.ask("world"))["image"]


async def test_a_strange_picture_is_said_to_be_strange(visit: Any) -> None:
    tab: Visit = await (await visit()).open("?transport=websocket")
    await tab.page.set_input_files("#image-file", files=[file(png(BLUE))])
    await tab.page.wait_for_selector(".far")
    assert "far from what this model knows" in await tab.page.inner_text(".far")
    await tab.page.click("#enter")
    await tab.state("live")
    await tab.until("document.getElementById('said').innerText.includes('far from what this model knows')")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (png()[:100], r"damaged or cut off.*Save or download it again"),
        (b"hello", r"not a picture.*Choose a PNG, JPEG or WebP"),
        (b"<svg/>", r"SVG drawing.*Save it as PNG"),
        (b"", r"empty"),
    ],
)
async def test_a_broken_file_is_said_in_words(visit: Any, content: bytes, said: str) -> None:
    tab: Visit = await (await visit(forgiving=True)).open("?transport=websocket")  # the console names every HTTP 400
    await tab.page.set_input_files("#image-file", files=[file(content)])
    await tab.page.wait_for_selector("#image-status[data-tone=trouble]")
    assert re.search(said, await tab.page.inner_text("#image-status"))
    assert not await tab.page.is_visible("#image-chosen")
    assert not any("Uncaught" in line for line in tab.complaints)
    await tab.page.set_input_files("#image-file", files=[file(png())])  # and the next one is taken
    await tab.page.wait_for_selector("#image-chosen:not([hidden])")
    assert await tab.page.get_attribute("#image-status", "data-tone") is None


async def test_a_file_that_is_too_large_is_not_even_sent(visit: Any, tmp_path: Path) -> None:
    tab: Visit = await (await visit()).open()
    large = tmp_path / "place.png"  # by its path: the bytes themselves would take a busy machine a minute to hand over
    large.write_bytes(bytes(25 * 2**20))
    await tab.page.set_input_files("#image-file", large)
    await tab.until("document.getElementById('image-status').innerText.includes('25 MiB; 24 MiB is the limit')")


async def test_removing_the_picture_takes_its_words_along(visit: Any) -> None:
    tab: Visit = await (await visit()).open()
    await tab.page.set_input_files("#image-file", files=[file(png())])
    await tab.page.wait_for_selector("#image-chosen:not([hidden])")
    await tab.page.click("#image-remove")
    assert not await tab.page.is_visible("#image-chosen")
    assert await tab.page.input_value("#prompt") == ""
    assert await tab.page.evaluate("document.activeElement.id") == "image-choose"
    await tab.page.fill("#prompt", "desert, night")
    await tab.page.set_input_files("#image-file", files=[file(png())])
    await tab.page.wait_for_selector("#image-chosen:not([hidden])")
    assert await tab.page.input_value("#prompt") == "desert, night", "words of one's own stay"


@pytest.mark.parametrize("how", ["drop", "paste"])
async def test_handing_over_a_picture_at_the_landing(visit: Any, how: str) -> None:
    tab: Visit = await (await visit()).open()
    await hand_over(tab, how, png())
    await tab.page.wait_for_selector("#image-chosen:not([hidden])")


@pytest.mark.parametrize("how", ["drop", "paste", "button"])
async def test_a_picture_starts_a_new_world_while_walking(visit: Any, how: str) -> None:
    tab: Visit = await (await visit()).open("?transport=websocket")
    await tab.enter("desert", seed=3)
    await tab.state("live")
    if how == "button":
        await listen_for_choosers(tab)
        async with tab.page.expect_file_chooser() as chooser:
            await tab.page.keyboard.press("p")
        await (await chooser.value).set_files([file(png())])
    else:
        await hand_over(tab, how, png())
    await tab.until("worldstream.world.image && worldstream.world.prompt === 'forest'")
    await shows(tab, GREEN)
    assert "A new world, from your picture: forest." in await tab.page.inner_text("#toast")
    assert await tab.ask("state") == "live"


async def test_a_broken_file_while_walking_disturbs_nothing(visit: Any) -> None:
    tab: Visit = await (await visit(forgiving=True)).open("?transport=websocket")
    await tab.enter("desert", seed=3)
    await tab.state("live")
    await hand_over(tab, "drop", b"hello")
    await tab.until("document.getElementById('toast').innerText.includes('not a picture')")
    await tab.changes(lambda: tab.ask("lastFrame?.frame"))
    assert (await tab.ask("world"))["prompt"] == "desert"


async def test_a_picture_that_is_gone_is_said(visit: Any) -> None:
    tab: Visit = await visit()
    await tab.page.route("**/api/image", lambda route: route.fulfill(json={
        "image": "gone", "caption": "forest", "confidence": 1, "understood": ["forest"], "familiar": True,
        "distance": 0.1, "notes": [],
    }))  # fmt: skip
    await tab.open("?transport=websocket")
    await tab.page.set_input_files("#image-file", files=[file(png())])
    await tab.page.wait_for_selector("#image-chosen:not([hidden])")
    await tab.page.click("#enter")
    await tab.state("live")
    await tab.until("document.getElementById('toast').innerText.includes('no longer on the server')")
    assert (await tab.ask("world"))["image"] is None


@pytest.mark.parametrize(("width", "height", "touch"), SIZES)
async def test_axe_has_no_objection_to_a_picture(visit: Any, width: int, height: int, touch: bool) -> None:
    tab: Visit = await visit(width, height, touch=touch, still=True)
    await tab.open("?transport=websocket")
    await tab.page.set_input_files("#image-file", files=[file(png(BLUE))])
    await tab.page.wait_for_selector(".far")
    assert await find_faults(tab) == []
    assert await tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_a_picture_by_keyboard_alone(visit: Any) -> None:
    tab: Visit = await (await visit()).open("?transport=websocket")
    await listen_for_choosers(tab)
    await tab.page.focus("#image-choose")
    async with tab.page.expect_file_chooser() as chooser:
        await tab.page.keyboard.press("Enter")
    await (await chooser.value).set_files([file(png())])
    await tab.page.wait_for_selector("#image-chosen:not([hidden])")
    await tab.page.focus("#prompt")
    await tab.page.keyboard.press("Enter")
    await tab.state("live")
    await shows(tab, GREEN)


@pytest.fixture
def real_server(tmp_path: Path) -> Iterator[FakeServer]:
    """The shipped world, at its fewest steps."""
    program = ("-m", "worldstream.realtime.cli", "serve", "--engine", "eager", "--steps", "2", "--data", str(tmp_path))
    server = FakeServer(tmp_path / "log", program=program)
    server.start()
    yield server
    server.kill()


async def seen(tab: Visit) -> NDArray[np.float64]:
    """The picture in the tab, `[10, 16, 3]`."""
    pixels = await tab.page.evaluate(
        """() => {
            const canvas = Object.assign(document.createElement("canvas"), { width: 16, height: 10 });
            const context = canvas.getContext("2d");
            context.imageSmoothingQuality = "high";
            context.drawImage(document.querySelector("#picture canvas"), 0, 0, 16, 10);
            return [...context.getImageData(0, 0, 16, 10).data];
        }"""
    )
    return np.array(pixels, np.float64).reshape(10, 16, 4)[..., :3]


async def test_the_shipped_world_goes_on_from_a_render(visit: Any, real_server: FakeServer) -> None:
    """A picture of a world that it never saw: shown as it is, held while one stands, left when one turns."""
    drawn = Attributes(THEMES.index("desert"), 2, 0, 0, 0.7, 0.5, 0.5)  # at noon, clear, vivid
    render = Image.fromarray(episode(TEST_SEED + 77, 1, 256, 160, attributes=drawn, changes=False).rgb[0])
    buffer = io.BytesIO()
    render.save(buffer, "PNG")
    small = np.asarray(render.resize((16, 10), Image.Resampling.BOX), np.float64)
    tab: Visit = await (await visit(host=real_server)).open("?transport=websocket")
    await tab.page.set_input_files("#image-file", files=[file(buffer.getvalue())])
    await tab.page.wait_for_selector("#image-chosen:not([hidden])")
    assert "The model sees: desert" in await tab.page.inner_text("#image-lines")
    await tab.page.click("#enter")
    await tab.state("live")
    await tab.until("worldstream.lastFrame?.frame > 12")
    stood = await seen(tab)
    assert np.abs(stood - small).mean() < 20, "the world does not hold the picture it was given"
    assert small.std() > 20, "a picture without contrast proves nothing"
    await tab.page.keyboard.down("ArrowRight")

    async def turned() -> bool:
        return float(np.abs(await seen(tab) - stood).mean()) > 6

    await tab.holds(turned)
    await tab.page.keyboard.up("ArrowRight")
