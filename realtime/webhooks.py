"""Tells a client's address that a task ended, as Standard Webhooks lays down: a POST with the headers `webhook-id`,
`webhook-timestamp` and `webhook-signature`, repeated with growing pauses until it is answered with a 2xx.

Messages wait in the database from the transaction that ended the task on, so that a crash loses none; a client may hear
one twice and knows it by its id. Private addresses are refused when the connection is made, whatever the name said.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import logging
import socket as sockets
import ssl
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpcore

from .tasks import Task

if TYPE_CHECKING:
    from .store.database import Database
    from .store.webhooks import Waiting

logger = logging.getLogger(__name__)

PAUSES_S = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)  # as the standard's own
TIMEOUT_S = 15.0
HOLD_S = 60.0  # a server that dies while it delivers leaves the message to the next after so long
PREFIX = "whsec_"
MAX_URL = 2048
Find = Callable[[str, int], Awaitable[list[str]]]  # host and port -> IP addresses


class ForbiddenAddress(Exception):
    """An address that webhooks do not go to."""


def check_url(url: str, private: bool = False) -> str:
    """`url` itself. Raises ValueError on anything but an address that webhooks may go to, before it is kept; where a
    name leads is checked at each delivery. Plain http only where private addresses are allowed."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"{url[:100]!r} is not a URL") from None
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"a webhook's URL has up to {MAX_URL} printable ASCII characters")
    if parts.scheme not in (("https", "http") if private else ("https",)) or not parts.hostname or port == 0:
        raise ValueError(f"a webhook's URL begins with https:// and names a host; got {url[:100]!r}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a webhook's URL holds no user name or password")
    return url


def signature(secret: bytes, id: str, timestamp_s: int, body: bytes) -> str:
    """Of the standard's scheme v1: HMAC-SHA256 over id, time and body, in base64."""
    signed = hmac.new(secret, f"{id}.{timestamp_s}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(signed).decode()


def secret_bytes(text: str) -> bytes:
    """Of `whsec_` and base64, 24 to 64 bytes, as the standard writes secrets. Raises ValueError."""
    try:
        found = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not 24 <= len(found) <= 64:
        raise ValueError(f"the webhook secret is {PREFIX} and the base64 of 24 to 64 bytes")
    return found


def secret_text(secret: bytes) -> str:
    """How clients are told a secret."""
    return PREFIX + base64.b64encode(secret).decode()


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet, also where it is IPv4 in the clothes of IPv6."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


async def find(host: str, port: int) -> list[str]:
    """By the system's resolver. Raises OSError."""
    infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=sockets.SOCK_STREAM)
    return [str(info[4][0]) for info in infos]


class PublicOnly(httpcore.AsyncNetworkBackend):
    """Connects to the very address that was checked, so that a name cannot lead elsewhere a moment later."""

    def __init__(self, private: bool, find: Find = find) -> None:
        self._private, self._find = private, find
        self._inner: Any = httpcore.AnyIOBackend()  # pyright sees the stand-in for where anyio is not

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises ForbiddenAddress, or httpcore's errors."""
        try:
            addresses = await self._find(host, port)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} is not known") from error
        bad = [a for a in addresses if not (self._private or is_public(a))]
        if bad or not addresses:
            raise ForbiddenAddress(f"{host} leads to {', '.join(bad) or 'nowhere'}, which is not on the open internet")
        for address in addresses[:-1]:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
        return await self._inner.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class Webhooks:
    """Delivers what waits in the database. Lives on the event loop."""

    def __init__(
        self,
        database: Database,
        secret: bytes,
        body_of: Callable[[Task], dict[str, Any]],
        clock: Callable[[], float],
        network: httpcore.AsyncNetworkBackend | None = None,
        tls: ssl.SSLContext | None = None,
        poll_s: float = 1.0,
        workers: int = 4,
    ) -> None:
        self._database, self._secret, self._body_of, self._clock = database, secret, body_of, clock
        self._network = network or PublicOnly(private=False)
        self._tls, self._poll_s, self._count = tls, poll_s, workers
        self._workers: list[asyncio.Task[None]] = []

    def open(self) -> None:
        """Begin to deliver."""
        self._workers = [asyncio.create_task(self._run()) for _ in range(self._count)]

    async def close(self) -> None:
        """What was not delivered stays for the next start."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                if not await self.deliver_one():
                    await asyncio.sleep(self._poll_s)
            except Exception:
                logger.exception("webhooks are in trouble")
                await asyncio.sleep(self._poll_s)

    async def deliver_one(self) -> bool:
        """One message that is due; False where there is none."""
        from .store import webhooks as rows

        due_s = await self._database.read(rows.next_webhook)
        if due_s is None or due_s > self._clock():
            return False
        waiting = await self._database.write(lambda c: rows.take_webhook(c, self._clock(), HOLD_S))
        if waiting is None:
            return False
        trouble = await self._sent(waiting)
        again_s = None
        if trouble:
            pause = PAUSES_S[waiting.attempt - 1] if waiting.attempt <= len(PAUSES_S) else None
            again_s = None if pause is None else self._clock() + pause
            what = "given up" if again_s is None else f"again in {pause:g} s"
            logger.warning("webhook %s of task %s: %s; %s", waiting.id, waiting.task.id, trouble, what)
        await self._database.write(lambda c: rows.settle_webhook(c, waiting.id, again_s))
        return True

    async def _sent(self, waiting: Waiting) -> str:
        """Empty where it was taken, else why not."""
        body = json.dumps(self._body_of(waiting.task), separators=(",", ":")).encode()
        now_s = int(self._clock())
        headers: dict[str, str] = {
            "host": urlsplit(waiting.url).netloc,
            "content-type": "application/json",
            "user-agent": "worldstream",
            "webhook-id": waiting.id,
            "webhook-timestamp": str(now_s),
            "webhook-signature": signature(self._secret, waiting.id, now_s, body),
        }
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT_S)
        try:
            async with asyncio.timeout(2.0 * TIMEOUT_S), self._pool() as pool:  # each step has its own limit
                answer = pool.stream(
                    "POST",
                    waiting.url,
                    headers=list(headers.items()),
                    content=body,
                    extensions={"timeout": timeout},
                )
                async with answer as response:  # its body is nobody's business
                    return "" if 200 <= response.status < 300 else f"answered {response.status}"
        except TimeoutError:
            return f"no answer in {2.0 * TIMEOUT_S:g} s"
        except (ForbiddenAddress, OSError, ValueError) as error:
            return str(error)[:300] or type(error).__name__
        except Exception as error:  # httpcore's many
            return f"{type(error).__name__}: {error}"[:300]

    def _pool(self) -> httpcore.AsyncConnectionPool:
        return httpcore.AsyncConnectionPool(ssl_context=self._tls, network_backend=self._network, retries=0)
