"""Fetching what a client names by URL, without being led to where only this server can go.

Only https and only a name, not an address. The name is resolved once, every address that it has must be public, and
the connection is made to the address that was checked: a second answer of the DNS cannot change it. No redirects, no
proxies, no compression; size, type and time are bounded while the bytes arrive. OWASP: Server-Side Request Forgery.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import httpx

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[Address]]]
MIB = 2**20
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_CARRIES_IPV4 = (ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("::/96"))


class FetchError(ValueError):
    """A file that was not fetched: one line, for whoever named it."""


@dataclass(frozen=True, slots=True)
class FetchConfig:
    """How much, how long, from where."""

    image_bytes: int = 16 * MIB  # as the contract says
    media_bytes: int = 32 * MIB  # of video and sound
    connect_s: float = 5.0
    total_s: float = 30.0  # all of it: a server that drips bytes holds nothing for longer
    local_http: bool = False  # for tests and closed networks: also http and private addresses
    agent: str = "worldstream API/1"


async def resolved(host: str, port: int) -> list[Address]:
    """Every address of a name. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(address[0]).partition("%")[0]) for *_, address in found]


def public(address: Address) -> bool:
    """Whether anybody on the internet could reach an address. What carries an IPv4 address is judged by that too."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if address in _NAT64:
            return public(inner)
        if not any(address in network for network in _CARRIES_IPV4):
            carried = address.sixtofour or (address.teredo or (None, None))[1]
            inner = ipaddress.IPv4Address("8.8.8.8") if carried is None else carried
        if not public(inner):
            return False
    bad = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_loopback
    return address.is_global and not bad


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file on this machine."""

    media_type: str
    bytes: int


class Fetcher:
    """Fetches files. `wanted` is image, video or audio, several joined by "|"."""

    def __init__(
        self,
        config: FetchConfig = FetchConfig(),
        resolve: Resolve = resolved,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._config, self._resolve = config, resolve
        self._trust = trust or ssl.create_default_context()

    async def fetch(self, url: str, wanted: str, into: Path) -> Fetched:
        """Write what `url` names to `into`. Raises FetchError; then there is no file."""
        parts = self._parts(url)
        try:
            async with asyncio.timeout(self._config.total_s):
                address = await self._checked(parts)
                return await self._get(parts, address, wanted, into)
        except TimeoutError:
            raise FetchError(f"{parts.hostname} took longer than {self._config.total_s:g} s") from None
        except (httpx.HTTPError, OSError) as error:
            raise FetchError(f"{parts.hostname} could not be read ({type(error).__name__})") from None

    def _parts(self, url: str) -> SplitResult:
        if not 13 <= len(url) <= 2048:
            raise FetchError(f"a URL has 13 to 2048 characters, this one has {len(url)}")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise FetchError("this is not a URL") from None
        schemes = ("https", "http") if self._config.local_http else ("https",)
        if parts.scheme not in schemes:
            raise FetchError(f"only https:// URLs are fetched, this one begins with {parts.scheme[:20] or 'nothing'}:")
        if not parts.hostname or parts.username is not None or parts.password is not None or port == 0:
            raise FetchError("the URL must name a host, and neither user nor password")
        if any(ord(character) <= 32 or ord(character) == 127 for character in url) or "\\" in url:
            raise FetchError("the URL holds characters that no URL has")
        if not self._config.local_http and _is_address(parts.hostname):
            raise FetchError("the URL must name a domain, not an IP address")
        return parts

    async def _checked(self, parts: SplitResult) -> Address:
        assert parts.hostname is not None
        try:
            host = parts.hostname.encode("idna").decode() if not parts.hostname.isascii() else parts.hostname
            addresses = await self._resolve(host, parts.port or 443)
        except (OSError, UnicodeError):
            raise FetchError(f"the domain {parts.hostname[:100]} is not known") from None
        if not addresses:
            raise FetchError(f"the domain {parts.hostname[:100]} has no address")
        if not self._config.local_http and not all(public(address) for address in addresses):
            raise FetchError(f"the domain {parts.hostname[:100]} does not lead to the public internet")
        return addresses[0]

    async def _get(self, parts: SplitResult, address: Address, wanted: str, into: Path) -> Fetched:
        timeout = httpx.Timeout(self._config.total_s, connect=self._config.connect_s)
        transport = httpx.AsyncHTTPTransport(verify=self._trust, trust_env=False, retries=0)
        async with httpx.AsyncClient(transport=transport, timeout=timeout, trust_env=False) as client:
            request = self._request(client, parts, address)
            answer = await client.send(request, stream=True, follow_redirects=False)
            try:
                media_type = _media_type(answer, parts, wanted)
                most = self._config.image_bytes if wanted == "image" else self._config.media_bytes
                return Fetched(media_type, await _written(answer, into, most))
            finally:
                await answer.aclose()

    def _request(self, client: httpx.AsyncClient, parts: SplitResult, address: Address) -> httpx.Request:
        assert parts.hostname is not None
        host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode()
        port = f":{parts.port}" if parts.port else ""
        literal = f"[{address}]" if address.version == 6 else str(address)
        target = f"{parts.scheme}://{literal}{port}{parts.path or '/'}" + (f"?{parts.query}" if parts.query else "")
        headers = {
            "Host": host + port,
            "User-Agent": self._config.agent,
            "Accept": "*/*",
            "Accept-Encoding": "identity",  # what arrives is as large as it says
        }
        return client.build_request("GET", target, headers=headers, extensions={"sni_hostname": host})


def _is_address(host: str) -> bool:
    """Also in the spellings that resolvers take for addresses: 127.1, 0x7f000001, 2130706433."""
    try:
        ipaddress.ip_address(host)
        return True
    except ValueError:
        pass
    last = host.rstrip(".").rpartition(".")[2].lower()
    return last.isdecimal() or (last.startswith("0x") and all(c in "0123456789abcdef" for c in last[2:]))


def _media_type(answer: httpx.Response, parts: SplitResult, wanted: str) -> str:
    if answer.is_redirect or 300 <= answer.status_code < 400:
        raise FetchError(f"{parts.hostname} redirects; name the URL that it leads to")
    if answer.status_code != 200:
        raise FetchError(f"{parts.hostname} answered {answer.status_code}")
    if answer.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise FetchError(f"{parts.hostname} sends it compressed, which is not read")
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type.partition("/")[0] not in wanted.split("|"):
        kinds = " or ".join(wanted.split("|"))
        raise FetchError(f"{parts.hostname} says it is {media_type[:60] or 'nothing'}, wanted is {kinds}")
    return media_type


async def _written(answer: httpx.Response, into: Path, most: int) -> int:
    said = answer.headers.get("content-length", "")
    if said.isdecimal() and int(said) > most:
        raise FetchError(f"the file has {said} bytes, at most {most} are read")
    loop, size = asyncio.get_running_loop(), 0
    file = await loop.run_in_executor(None, into.open, "wb")
    try:
        async for piece in answer.aiter_raw(64 * 1024):
            size += len(piece)
            if size > most:
                raise FetchError(f"the file has more than {most} bytes")
            await loop.run_in_executor(None, file.write, piece)
        if not size:
            raise FetchError("the file is empty")
    except BaseException:
        file.close()
        os.unlink(into)  # noqa: PTH108  # the name of an open file is gone in no time
        raise
    await loop.run_in_executor(None, file.close)
    return size
