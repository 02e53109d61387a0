"""The offline half of the server: database, blobs, the queue of tasks and what is told of their ends.

It lives beside the house of the live world and shares nothing with it but the process: where it cannot be, worlds are
served all the same.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import pkgutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from .admission import Remembered
from .assets.fetching import FetchConfig, Fetcher
from .assets.plain import PlainAssets, sweep
from .assets.probe_process import ProbeProcess
from .assets.uploads import UploadStore
from .blob_place import open_blobs
from .blobs import FolderBlobs
from .config import ServerConfig
from .errors import StartupError
from .governance.gate import Gate, check_host
from .governance.limits import Ledger, Limits
from .jobs.kinds import KINDS, Kind
from .jobs.pool import ProcessConfig
from .outputs import add_outputs, link, signing_secret
from .runway.app import SUBJECTS, runway_app
from .runway.ledgers import Books
from .runway.models import read_catalogue
from .server_slot import ServerSlot
from .services import Assets, Services
from .store.database import Database, Migration
from .store.tasks import TaskRows
from .task_body import task_body
from .task_queue import TaskQueue
from .tasks import Task
from .upkeep import Upkeep
from .webhooks import PublicOnly, Webhooks, secret_bytes, secret_text
from .workflows.shelf import read_workflows

logger = logging.getLogger(__name__)

GOVERNED = "worldstream.realtime.jobs.governed:governed_job_of"


class Offline:
    """Everything that belongs to tasks. `kinds` and `finder` are the table of jobs; tests bring their own."""

    def __init__(
        self,
        config: ServerConfig,
        port: int = 0,
        clock: Callable[[], float] = time.time,
        kinds: Mapping[str, Kind] = KINDS,
        finder: str = GOVERNED,
        assets: Assets | None = None,
    ) -> None:
        """Blocks a little. Raises StartupError."""
        self._prepared = False
        self._looks = ProbeProcess()
        self._upkeep: asyncio.Task[None] | None = None
        self._port = port or config.port
        self._host = f"[{config.host}]" if ":" in config.host else config.host
        try:
            secret, webhook_secret = signing_secret(config.data), _webhook_secret(config)
            self._blobs = open_blobs(config.blobs, config.data)
            self.catalogue, self.workflows = read_catalogue(config.data), read_workflows(config.data)
            self.database = Database(config.database or config.data / "worldstream.db")
        except ImportError as error:
            extra = "s3" if error.name == "obstore" else "postgres"
            raise StartupError(f"tasks cannot be kept: {error}; install worldstream[{extra}]") from None
        except Exception as error:  # a setting that makes no sense, or a disk that does not write
            raise StartupError(f"tasks cannot be kept: {str(error).partition(chr(10))[0][:300]}") from None
        self.limits = Limits(config.limits.credits, config.limits.monthly_cap, dict(config.limits.daily))
        ledger = Ledger(self.limits)
        rows = TaskRows(
            self.database.lite,
            config.tasks.per_model,
            {**self.catalogue.places, **config.tasks.models},
            (ledger.ended,),
            (ledger.created,),
        )
        process = ProcessConfig(config.data, finder, config.engine, config.log_level.upper())
        self.queue = TaskQueue(
            self.database, rows, self._blobs, ServerSlot(config.data), config.tasks, process, clock, kinds
        )
        self.services = Services(
            self.database,
            self.queue,
            assets or self._assets(config, secret, clock),
            self._blobs,
            Remembered(Gate(self.database, clock), clock),
            config.data,
            clock,
            config.public_url,
            secret,
        )
        network = PublicOnly(config.tasks.webhooks_private)
        self.webhooks = Webhooks(self.database, webhook_secret, self._told, clock, network)

    def _assets(self, config: ServerConfig, secret: bytes, clock: Callable[[], float]) -> Assets:
        uploads = UploadStore(self._blobs, secret, clock)
        fetcher = Fetcher(FetchConfig(local_http=config.local_http))
        return PlainAssets(self._blobs, uploads, config.data / "incoming", fetcher, self._looks.probe)

    def _told(self, task: Task) -> dict[str, Any]:
        base_url = self.services.base_url(f"{self._host}:{self._port}")
        return task_body(task, lambda key: link(self.services, base_url, key))

    def prepare(self) -> None:
        """Bring the database up to date, and see that strangers are kept out. Blocks. Raises StartupError."""
        try:
            self.database.migrate(migrations())
            check_host(self.database, self._host)
        except StartupError:
            self.database.close()
            raise
        except Exception as error:
            logger.debug("the database", exc_info=True)
            self.database.close()
            first = str(error).strip().partition("\n")[0]
            raise StartupError(f"the database cannot be used: {first[:300]}") from None
        self._prepared = True

    async def open(self) -> None:
        """Begin to work. Raises StartupError."""
        if not self._prepared:
            await asyncio.to_thread(self.prepare)
        if isinstance(self._blobs, FolderBlobs):
            await self._blobs.sweep()
        await asyncio.to_thread(sweep, self.services.data / "incoming", self.services.clock())
        await self.queue.open()
        self.webhooks.open()
        self._upkeep = asyncio.create_task(Upkeep(self.services, self.catalogue).run())

    async def close(self) -> None:
        """Stop working. Requests that go on may still look. Twice is harmless."""
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.gather(self._upkeep, return_exceptions=True)
        await self.webhooks.close()
        await self.queue.close()
        await self._looks.close()

    async def finish(self) -> None:
        """After the last request."""
        await asyncio.to_thread(self.database.close)


def migrations() -> list[Migration]:
    """Of every module in store/, each module's in order."""
    names = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent / "store")]))
    modules = [importlib.import_module(f".store.{name}", __package__) for name in names]
    return [step for module in modules for step in getattr(module, "MIGRATIONS", ())]


def _webhook_secret(config: ServerConfig) -> bytes:
    """As the operator set it, else one made at the first start; `webhook-secret` in the data folder says it."""
    if config.webhook_secret:
        return secret_bytes(config.webhook_secret)
    made = signing_secret(config.data, "webhook-secret-key")
    said = config.data / "webhook-secret"
    if not said.exists():
        said.touch(0o600)
        said.write_text(secret_text(made) + "\n")
    return made


def add_offline(app: FastAPI, offline: Offline) -> None:
    """The routes: outputs first, because they lie where the contract does."""
    add_outputs(app, offline.services)
    contract = runway_app(offline.services, SUBJECTS, offline.catalogue)
    contract.state.workflows, contract.state.ledger = offline.workflows, Books(offline.services, offline.limits)
    app.mount("/v1", contract)
