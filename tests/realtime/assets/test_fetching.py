"""A client cannot lead the server to where only the server can go, nor fill it."""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from worldstream.realtime.assets.fetching import Address, FetchConfig, Fetcher, FetchError, public

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Host:
    """A server on this machine that answers whatever a test says, and remembers what it was asked."""

    port: int = 0
    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 4\r\n\r\nabcd"
    drip_s: float = 0.0
    endless: bool = False
    asked: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answer)
            await writer.drain()
            while self.endless:
                writer.write(bytes(65536))
                await writer.drain()
            if self.drip_s:
                for _ in range(1000):
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(self.drip_s)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    host = Host()
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0)
    host.port = server.sockets[0].getsockname()[1]
    yield host
    server.close()


def resolving(*addresses: str) -> Callable[[str, int], Awaitable[list[Address]]]:
    async def resolve(name: str, port: int) -> list[Address]:
        return [ipaddress.ip_address(address) for address in addresses]

    return resolve


def open_fetcher(**changes: float | int) -> Fetcher:
    return Fetcher(FetchConfig(local_http=True, **changes), resolving("127.0.0.1"))  # type: ignore[arg-type]


async def fetch(fetcher: Fetcher, url: str, into: Path, wanted: str = "image") -> str:
    """What is refused, in words; nothing may be left behind."""
    with pytest.raises(FetchError) as caught:
        await fetcher.fetch(url, wanted, into)
    return refused(str(caught.value), into)


def refused(said: str, into: Path) -> str:
    assert not into.exists()
    assert "\n" not in said
    return said


async def test_a_file_arrives(tmp_path: Path, host: Host) -> None:
    into = tmp_path / "a.png"
    found = await open_fetcher().fetch(f"http://pictures.test:{host.port}/a.png?x=1", "image", into)
    assert (found.media_type, found.bytes, into.read_bytes()) == ("image/png", 4, b"abcd")
    request = host.asked[0].decode().lower()
    assert request.startswith("get /a.png?x=1 http/1.1")
    assert f"host: pictures.test:{host.port}" in request
    assert "accept-encoding: identity" in request
    assert "authorization" not in request
    assert "cookie" not in request


@pytest.mark.parametrize(
    "url",
    [
        "http://pictures.test/a.png", "ftp://pictures.test/a.png", "file:///etc/passwd", "gopher://pictures.test/",
        "https://127.0.0.1/a.png", "https://[::1]/a.png", "https://2130706433/a.png", "https://0x7f000001/a",
        "https://127.1/abcdef", "https://user:word@pictures.test/", "https:///nothing-at-all", "https://a.test:0/a.png",
        "https://a.test/a\r\nHost: b", "https://a.test\\@b.test/", "https://a.test:99999/x", "x" * 5000, "https://", "",
        "https://[fe80::1%eth0]/abc", "https://192.168.1.1./abcd",
    ],
)  # fmt: skip
async def test_what_is_no_public_https_url(tmp_path: Path, url: str) -> None:
    async def resolve(name: str, port: int) -> list[Address]:
        raise AssertionError(f"{name} was resolved")

    await fetch(Fetcher(resolve=resolve), url, tmp_path / "a")


PRIVATE = [
    "127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1", "::1", "::", "fe80::1", "fd00::1",
    "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
    "2001:db8::1", "::127.0.0.1", "2001:0:4136:e378:8000:63bf:80ff:fffe",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_that_leads_inside(tmp_path: Path, address: str) -> None:
    inside = Fetcher(resolve=resolving(address))
    assert "public internet" in await fetch(inside, "https://inside.test/a.png", tmp_path / "a")
    both = Fetcher(resolve=resolving("8.8.8.8", address))  # one good address does not excuse the other
    assert "public internet" in await fetch(both, "https://inside.test/a.png", tmp_path / "a")


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808"])
def test_what_is_public(address: str) -> None:
    assert public(ipaddress.ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_address_in_a_coat_is_judged_by_what_it_is(inner: ipaddress.IPv4Address) -> None:
    if not public(inner):
        for coat in (int(ipaddress.ip_address("::ffff:0:0")), int(ipaddress.ip_address("64:ff9b::"))):
            assert not public(ipaddress.IPv6Address(coat | int(inner)))
        assert not public(ipaddress.IPv6Address((0x2002 << 112) | (int(inner) << 80)))


async def test_the_name_is_asked_once_and_the_answer_kept(tmp_path: Path, host: Host) -> None:
    asked: list[str] = []

    async def rebinding(name: str, port: int) -> list[Address]:
        asked.append(name)
        return [ipaddress.ip_address("127.0.0.1" if len(asked) == 1 else "127.0.0.2")]

    fetcher = Fetcher(FetchConfig(local_http=True), rebinding)
    await fetcher.fetch(f"http://rebinding.test:{host.port}/a.png", "image", tmp_path / "a")
    assert asked == ["rebinding.test"]
    assert len(host.asked) == 1


def certified(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(what a server of a name uses, what trusts it)."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "tls.pem").write_bytes(made + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.pem")
    return context, ssl.create_default_context(cadata=made.decode())


async def test_the_certificate_must_be_of_the_name(tmp_path: Path) -> None:
    host = Host()
    context, trust = certified(tmp_path, "pictures.test")
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0, ssl=context)
    fetcher = Fetcher(FetchConfig(local_http=True), resolving("127.0.0.1"), trust)
    port = server.sockets[0].getsockname()[1]
    found = await fetcher.fetch(f"https://pictures.test:{port}/a.png", "image", tmp_path / "a")
    assert found.bytes == 4
    assert "could not be read" in await fetch(fetcher, f"https://others.test:{port}/a.png", tmp_path / "b")
    assert len(host.asked) == 1
    server.close()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", "redirects"),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "answered 404"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\r\nx", "wanted is image"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "says it is nothing"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 99999999999\r\n\r\n", "99999999999 bytes"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
            "compr",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 0\r\n\r\n", "empty"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\nx", "could not be read"),
        (b"nonsense\r\n\r\n", "could not be read"),
    ],
)
async def test_answers_that_are_refused(tmp_path: Path, host: Host, answer: bytes, words: str) -> None:
    host.answer = answer
    assert words in await fetch(open_fetcher(), f"http://a.test:{host.port}/a.png", tmp_path / "a")


async def test_a_stream_without_end_is_cut_off(tmp_path: Path, host: Host) -> None:
    host.answer = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nConnection: close\r\n\r\n"
    host.endless = True
    small = open_fetcher(image_bytes=300_000)
    assert "more than 300000" in await fetch(small, f"http://a.test:{host.port}/a.png", tmp_path / "a")


async def test_a_server_that_drips_holds_nothing_for_long(tmp_path: Path, host: Host) -> None:
    host.answer = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nConnection: close\r\n\r\n"
    host.drip_s = 0.01
    short = open_fetcher(total_s=0.15)
    assert "longer than 0.15 s" in await fetch(short, f"http://a.test:{host.port}/a.png", tmp_path / "a")


async def test_nobody_answers(tmp_path: Path) -> None:
    async def unknown(name: str, port: int) -> list[Address]:
        raise OSError("no such name")

    assert "is not known" in await fetch(Fetcher(resolve=unknown), "https://unknown.test/a", tmp_path / "a")
    assert "has no address" in await fetch(Fetcher(resolve=resolving()), "https://unknown.test/a", tmp_path / "a")
