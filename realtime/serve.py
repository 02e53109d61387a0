"""The server: config → world → worker → HTTP under uvloop.

`build_app` makes the application around any `World`, which is how the tests bring their own; `serve` is the command.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import mimetypes
import socket as sockets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.requests import ClientDisconnect, HTTPConnection

from ..worlds.machine import cores
from ..worlds.procedural.attributes import MOODS, TIMES, WEATHERS
from .archive import Archive
from .config import ServerConfig, version
from .errors import ForbiddenOrigin, StartupError
from .guard import Guard, add_errors, check_origin
from .images import Images
from .live_load import LiveLoad
from .lobby import Lobby
from .mailbox import Event
from .metrics import Metrics
from .playout import Playout
from .protocol import WorldInfo, parse_hello
from .session import Role
from .sharing import Sharing, add_sharing
from .startup import settle_heap
from .webrtc import Peers
from .websocket import serve_socket
from .worker import Worker

if TYPE_CHECKING:
    from ..worlds.core import World
    from .offline import Offline

logger = logging.getLogger(__name__)

BROWSER_FILES = Path(__file__).resolve().parents[1] / "clients" / "browser"


class Offer(BaseModel):
    """The body of `POST /api/offer`."""

    sdp: str
    type: str
    hello: dict[str, Any]


class House:
    """Everything that lives as long as the server does."""

    def __init__(
        self,
        config: ServerConfig,
        world: World,
        clock: Callable[[], float] = time.monotonic,
        offline: Offline | None = None,
    ) -> None:
        self.config = config
        self.offline = offline
        self.load = LiveLoad(clock, cores())
        self.clock = clock
        self.started_s = clock()
        self.info = world_info(world)
        self.metrics = Metrics()
        self.archive = Archive(config.data / "sessions", config.timeline, time.time)
        self.worker = Worker(world, config, clock, self.archive)
        self.images = Images(world, config.images, clock)
        self.lobby = Lobby(
            self.worker.submit, self.info, config.sessions, config.video, self.metrics, clock, self.images.find
        )
        self.sharing = Sharing(self.lobby, self.archive, config.timeline.archive_days, world)
        self.peers = Peers(self.lobby, config)
        self._ticker: asyncio.Task[None] | None = None
        self._playout: Playout | None = None

    async def open(self) -> None:
        """Warm the worker up and start it."""
        loop = asyncio.get_running_loop()

        self._playout = Playout(
            self._heard,
            self.info.fps,
            self.info.chunk,
            self.clock,
            lambda seconds, call: loop.call_later(seconds, call),
        )
        played_out = self._playout.on_event

        def emit(event: Event) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(played_out, event)

        if self.offline is not None:
            await self.offline.open()
        await asyncio.wrap_future(self.worker.start(emit))
        self._ticker = asyncio.create_task(self._tick(), name="worldstream-ticker")

    async def close(self) -> None:
        """Say goodbye to everyone, then stop. Twice is harmless."""
        self.lobby.stop()
        if self.offline is not None:
            await self.offline.close()
        await self.peers.stop()
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
            await asyncio.get_running_loop().run_in_executor(None, self.worker.stop)
            if self._playout is not None:
                self._playout.clear()
            await asyncio.get_running_loop().run_in_executor(None, self.images.stop)
        await self.sharing.close()

    async def _tick(self) -> None:
        while True:
            try:
                self.lobby.tick()
                self.peers.tick()
                self._calm()
            except Exception:
                logger.exception("tick failed")
            await asyncio.sleep(self.config.sessions.tick_s)

    def _heard(self, event: Event) -> None:
        self.load.hear(event)
        self.lobby.on_event(event)

    def _calm(self) -> None:
        """Have offline work give way while somebody plays."""
        if self.offline is not None:
            player = self.lobby.player
            self.offline.queue.be(self.load.calm(player is not None and not player.hidden))


def world_info(world: World) -> WorldInfo:
    """What visitors may know about a world."""
    return WorldInfo(
        name=world.name,
        width=world.width_px,
        height=world.height_px,
        fps=world.fps,
        engine=world.engine,
        steps=world.steps,
        themes=tuple(world.themes),
        times=TIMES if world.themes else (),  # they are the embedded worlds' grammar, as the themes are
        weathers=WEATHERS if world.themes else (),
        moods=MOODS if world.themes else (),
        version=version(),
        chunk=world.frames_per_step,
        controls=world.controls,
    )


def offline_half(config: ServerConfig, port: int = 0) -> Offline | None:
    """Tasks and what belongs to them; None, with a line in the log, where what they need is not installed: worlds are
    served all the same. Raises StartupError."""
    try:
        module = importlib.import_module(".offline", __package__)
    except ModuleNotFoundError as error:
        logger.warning("clips, edits and the task API are off: %s is not installed", error.name)
        return None
    made: Offline = module.Offline(config, port)
    made.prepare()
    return made


def build_app(config: ServerConfig, world: World, offline: Offline | None = None) -> FastAPI:
    """The HTTP application around `world`; its `state.house` is the rest of the server. Without `offline` it serves
    the live world alone."""
    house = House(config, world, offline=offline)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await house.open()
        yield
        await house.close()
        if offline is not None:
            await offline.finish()

    app = FastAPI(title="worldstream", version=version(), lifespan=lifespan, openapi_url=None)
    app.state.house = house
    _add_api(app, house)
    if offline is not None:
        _add_offline(app, house, offline)
    _add_pages(app)
    add_errors(app)
    app.add_middleware(Guard)
    return app


def _add_api(app: FastAPI, house: House) -> None:
    def check(asking: HTTPConnection) -> None:
        check_origin(asking.headers.get("origin"), asking.headers.get("host"), house.config.origins)

    @app.get("/api/world")
    async def world() -> dict[str, Any]:
        return house.info.as_dict()

    @app.get("/api/status")
    async def status() -> dict[str, Any]:
        lobby = house.lobby
        viewers = sum(session.role is Role.VIEWER for session in lobby.sessions.values())
        live = lobby.player is not None and not lobby.player.hidden
        uptime_s = round(house.clock() - house.started_s, 1)
        return {"live": live, "viewers": viewers, "queue": len(lobby.line), "uptime_s": uptime_s}

    @app.post("/api/offer")
    async def offer(request: Request, body: Offer) -> dict[str, str]:
        check(request)
        hello = parse_hello(body.hello)
        sdp, session_id = await house.peers.answer(body.sdp, hello)
        return {"sdp": sdp, "type": "answer", "session": session_id}

    @app.post("/api/image")
    async def image(request: Request) -> Response:
        check(request)
        try:
            return JSONResponse((await house.images.receive(request.stream())).as_dict())
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it

    add_sharing(app, house.sharing, check)

    @app.websocket("/api/socket")
    async def socket(websocket: WebSocket) -> None:
        try:
            check(websocket)
        except ForbiddenOrigin:
            await websocket.close()  # before accepting: the browser sees HTTP 403
            return
        await serve_socket(websocket, house.lobby, house.config.sessions, house.config.video)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(house.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/healthz")
    async def health() -> dict[str, bool]:
        return {"ok": True}


def _add_offline(app: FastAPI, house: House, offline: Offline) -> None:
    def check(asking: HTTPConnection) -> None:
        check_origin(asking.headers.get("origin"), asking.headers.get("host"), house.config.origins)

    routes = importlib.import_module(".task_routes", __package__)
    routes.add_tasks(app, offline, check)
    importlib.import_module(".studio_routes", __package__).add_studio(app, offline, check)
    importlib.import_module(".offline", __package__).add_offline(app, offline)


def _add_pages(app: FastAPI) -> None:
    mimetypes.add_type("text/javascript", ".js")  # some systems say text/plain, which browsers refuse for modules

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        page = BROWSER_FILES / "index.html"
        return FileResponse(page) if page.is_file() else Response("The page is not installed.", status_code=404)

    app.mount("/app", StaticFiles(directory=BROWSER_FILES, check_dir=False), name="app")


class Server(uvicorn.Server):
    """uvicorn, but visitors hear a goodbye before their sockets close."""

    async def shutdown(self, sockets: list[sockets.socket] | None = None) -> None:
        app = self.config.app
        assert isinstance(app, FastAPI)
        await app.state.house.close()
        await super().shutdown(sockets)


def server_for(app: FastAPI, config: ServerConfig) -> Server:
    """A uvicorn server for `app`; run it with `serve(sockets=[listen(...)])`."""
    return Server(
        uvicorn.Config(
            app,
            loop="uvloop",
            log_level=config.log_level,
            log_config=None,  # our own format for everything
            access_log=False,
            lifespan="on",
            ws="websockets-sansio",
            ws_max_size=2**20,  # the protocol's own limit is lower and answers with its own close code
            ws_per_message_deflate=False,  # pictures do not compress again
            timeout_graceful_shutdown=3,
            server_header=False,
        )
    )


def serve(config: ServerConfig, world: World, listener: sockets.socket, offline: Offline | None = None) -> None:
    """Serve `world` on `listener` until a signal, and the offline half beside it. Raises StartupError."""
    with listener:
        app = build_app(config, world, offline or offline_half(config, listener.getsockname()[1]))
        host = f"[{config.host}]" if ":" in config.host else config.host
        logger.info("worldstream %s at http://%s:%d/", version(), host, listener.getsockname()[1])
        server = server_for(app, config)
        settle_heap()
        server.run(sockets=[listener])
        if not server.started:
            raise StartupError("the server could not start; the log above says why.")
