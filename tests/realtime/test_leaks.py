"""Twenty visits by each transport, ended in different states, leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import threading

from aiortc import RTCPeerConnection
from websockets.asyncio.client import connect

from tests.realtime.doubles import RunningServer, eventually
from tests.realtime.test_webrtc import Peer
from worldstream.realtime.protocol import Bye, Hello, Pause, encode
from worldstream.realtime.session import Session
from worldstream.realtime.tracks import PacketTrack

HELLO = encode(Hello(seed=1, prompt=""))


def tasks() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks() if not task.done()}


def alive(kind: type) -> int:
    gc.collect()
    return sum(issubclass(type(item), kind) for item in gc.get_objects())


async def settled(server: RunningServer) -> None:
    await eventually(lambda: not server.house.lobby.sessions and not server.house.peers.links)
    await asyncio.sleep(0.3)  # aiortc's last tasks, and uvicorn's


async def visit_by_socket(server: RunningServer, ending: int) -> None:
    async with connect(server.socket, compression=None) as socket:
        if ending == 0:
            return  # before hello
        await socket.send(HELLO)
        if ending == 1:
            return
        while isinstance(await socket.recv(), str):
            pass
        if ending == 2:
            await socket.send(encode(Bye()))
        elif ending == 3:
            await socket.send(encode(Pause()))
        else:
            socket.transport.abort()


async def visit_by_peer(server: RunningServer, ending: int) -> None:
    peer = Peer()
    if ending == 0:
        await peer.call(server)  # never connects
    elif ending == 1:
        await peer.connect(server)  # gone while connecting
    else:
        await peer.connect(server)
        await eventually(lambda: peer.pictures)
        if ending == 2:
            peer.say(Bye())
            await asyncio.sleep(0.05)
        elif ending == 3:
            peer.say(Pause())
    await peer.close()


async def test_sockets_leave_nothing(server: RunningServer) -> None:
    await visit_by_socket(server, 4)
    await settled(server)
    before = tasks(), threading.active_count()
    for index in range(20):
        await visit_by_socket(server, index % 5)
    await settled(server)
    assert (tasks(), threading.active_count()) == before
    assert alive(Session) == 0


async def test_peers_leave_nothing(server: RunningServer) -> None:
    await visit_by_peer(server, 4)
    await settled(server)
    before, threads = len(tasks()), threading.active_count()
    for index in range(20):
        await visit_by_peer(server, index % 5)
    await settled(server)
    assert len(tasks()) <= before
    assert threading.active_count() <= threads + 1  # aiortc's executor may grow by one
    assert alive(Session) == 0
    assert alive(PacketTrack) == 0
    assert alive(RTCPeerConnection) == 0
