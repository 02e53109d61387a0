"""The wire format: golden messages, round trips, and hostile input."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.realtime.doubles import WORLD_INFO
from worldstream.realtime import protocol
from worldstream.realtime.checks import Message
from worldstream.realtime.errors import MalformedMessage, MessageTooLarge, WrongVersion
from worldstream.realtime.protocol import (
    CLIENT_MESSAGES,
    HEADER_BYTES,
    KEY_NAMES,
    KIND_H264,
    KIND_JPEG,
    MAX_MESSAGE_BYTES,
    MAX_PROMPT_CHARS,
    MAX_SEED,
    MAX_U32,
    SERVER_MESSAGES,
    Branch,
    Bye,
    ErrorMessage,
    FrameMeta,
    GoToBranch,
    Hello,
    Input,
    Keyframe,
    Notice,
    Pause,
    Picture,
    Ping,
    Pong,
    Prompt,
    Reset,
    Resume,
    Rewind,
    Shown,
    State,
    Stats,
    TakeOver,
    Timeline,
    Welcome,
    WorldChanged,
    decode_client,
    decode_picture,
    decode_server,
    encode,
    encode_picture,
    parse_hello,
)

GOLDEN_CLIENT: list[tuple[Message, str]] = [
    (
        Hello(seed=7, prompt="forest"),
        '{"type":"hello","seed":7,"prompt":"forest","v":1,"watch":false,"codec":"jpeg","image":null,"replay":""}',
    ),
    (
        Hello(seed=7, prompt="", image="Zk3_a"),
        '{"type":"hello","seed":7,"prompt":"","v":1,"watch":false,"codec":"jpeg","image":"Zk3_a","replay":""}',
    ),
    (
        Input(seq=3, keys=frozenset({"left", "forward"}), yaw=0.5, pitch=-0.25, move=(0.0, 1.0), t=12.5),
        '{"type":"input","seq":3,"keys":["forward","left"],"yaw":0.5,"pitch":-0.25,"move":[0.0,1.0],"t":12.5}',
    ),
    (Prompt(prompt="dünen"), '{"type":"prompt","prompt":"d\\u00fcnen"}'),
    (Reset(seed=0, prompt=""), '{"type":"reset","seed":0,"prompt":"","image":null}'),
    (Rewind(frame=250), '{"type":"rewind","frame":250}'),
    (GoToBranch(id=3), '{"type":"branch","id":3}'),
    (TakeOver(), '{"type":"take_over"}'),
    (Pause(), '{"type":"pause"}'),
    (Resume(), '{"type":"resume"}'),
    (Shown(frame=9, input=3, t=1.0, latency_ms=80.5), '{"type":"shown","frame":9,"input":3,"t":1.0,"latency_ms":80.5}'),
    (Keyframe(), '{"type":"keyframe"}'),
    (Ping(t=1.5), '{"type":"ping","t":1.5}'),
    (Bye(), '{"type":"bye"}'),
]
GOLDEN_SERVER: list[tuple[Message, str]] = [
    (
        Welcome(session="abc", role="player", world=WORLD_INFO),
        '{"type":"welcome","session":"abc","role":"player","world":{"name":"fake","width":320,"height":192,"fps":24.0,'
        '"engine":"none","steps":2,"themes":["forest"],"times":["dusk"],"weathers":["clear"],"moods":["warm"],'
        '"version":"0","protocol":1,"max_prompt_chars":500,"chunk":1,"controls":["walk","look","words","picture"]},"v":1}',
    ),
    (State(state="queued", place=2), '{"type":"state","state":"queued","place":2,"reason":null}'),
    (
        WorldChanged(seed=1, prompt="forest zebra", understood=("forest",), unknown=("zebra",)),
        '{"type":"world","seed":1,"prompt":"forest zebra","understood":["forest"],"unknown":["zebra"],'
        '"image":null,"caption":null,"familiar":null}',
    ),
    (
        WorldChanged(
            seed=1, prompt="desert", understood=("desert",), unknown=(), image="i", caption="desert", familiar=False
        ),
        '{"type":"world","seed":1,"prompt":"desert","understood":["desert"],"unknown":[],'
        '"image":"i","caption":"desert","familiar":false}',
    ),
    (
        FrameMeta(frame=1, input=0, rtp=None, media_time=0.5, server_ms=10.0),
        '{"type":"frame","frame":1,"input":0,"rtp":null,"media_time":0.5,"server_ms":10.0}',
    ),
    (
        Stats(
            fps=24.0, model_ms=20.0, decode_ms=5.0, encode_ms=1.0, engine="eager", steps=2, bitrate_bps=1500000,
            viewers=1, queue=0, frame=99, seed=7, dropped=0, drift="straying",
        ),
        '{"type":"stats","fps":24.0,"model_ms":20.0,"decode_ms":5.0,"encode_ms":1.0,"engine":"eager","steps":2,'
        '"bitrate_bps":1500000,"viewers":1,"queue":0,"frame":99,"seed":7,"dropped":0,"drift":"straying"}',
    ),
    (
        Timeline(now=90, fps=24.0, moments=(24, 48), branches=(Branch(id=1, start=30, end=81),), progress=0.5),
        '{"type":"timeline","now":90,"fps":24.0,"moments":[24,48],"branches":[{"id":1,"start":30,"end":81}],'
        '"replay":null,"progress":0.5}',
    ),
    (Notice(code="steps_reduced", message="m"), '{"type":"notice","code":"steps_reduced","message":"m"}'),
    (
        ErrorMessage(code="malformed", message="m", remedy="r", fatal=False, id="00ff"),
        '{"type":"error","code":"malformed","message":"m","remedy":"r","fatal":false,"id":"00ff"}',
    ),
    (Pong(t=1.5), '{"type":"pong","t":1.5}'),
]  # fmt: skip


@pytest.mark.parametrize(("message", "text"), GOLDEN_CLIENT, ids=lambda value: type(value).__name__)
def test_golden_client_messages(message: Message, text: str) -> None:
    assert encode(message) == text
    assert decode_client(text) == message


@pytest.mark.parametrize(("message", "text"), GOLDEN_SERVER, ids=lambda value: type(value).__name__)
def test_golden_server_messages(message: Message, text: str) -> None:
    assert encode(message) == text
    assert decode_server(text) == message


def test_pages_from_before_pictures_are_understood() -> None:
    assert decode_client('{"type":"reset","seed":3,"prompt":"x"}') == Reset(seed=3, prompt="x")
    old = '{"type":"world","seed":1,"prompt":"","understood":[],"unknown":[]}'
    assert decode_server(old) == WorldChanged(seed=1, prompt="", understood=(), unknown=())


@pytest.mark.parametrize("image", [7, True, "x" * 65, ["a"], "\ud800"])
def test_an_image_is_a_short_text(image: object) -> None:
    with pytest.raises(MalformedMessage, match="image"):
        decode_client(json.dumps({"type": "reset", "seed": 1, "prompt": "", "image": image}))


def test_every_message_has_a_golden_example() -> None:
    assert {type(message).TYPE for message, _ in GOLDEN_CLIENT} == set(CLIENT_MESSAGES)
    assert {type(message).TYPE for message, _ in GOLDEN_SERVER} == set(SERVER_MESSAGES)


# -- round trips

_prompts = st.text(st.characters(exclude_categories=["Cs"]), max_size=MAX_PROMPT_CHARS)
_angles = st.floats(-1e6, 1e6)
_inputs = st.builds(
    Input,
    seq=st.integers(1, MAX_U32),
    keys=st.frozensets(st.sampled_from(KEY_NAMES)),
    yaw=_angles,
    pitch=_angles,
    move=st.none() | st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
    t=st.floats(-1e15, 1e15),
)
_hellos = st.builds(
    Hello,
    seed=st.integers(0, MAX_SEED),
    prompt=_prompts,
    watch=st.booleans(),
    codec=st.sampled_from(["jpeg", "h264"]),
)


@given(_inputs | _hellos | st.builds(Reset, seed=st.integers(0, MAX_SEED), prompt=_prompts))
def test_client_messages_survive_the_wire(message: Message) -> None:
    text = encode(message)
    assert decode_client(text) == message
    assert decode_client(text.encode()) == message
    assert len(text) <= MAX_MESSAGE_BYTES


@given(st.builds(
    Picture, kind=st.sampled_from([KIND_JPEG, KIND_H264]), keyframe=st.booleans(), frame=st.integers(0, MAX_U32),
    input=st.integers(0, MAX_U32), server_ms=st.floats(0, 1e6, width=32), media_time=st.floats(0, 1e9),
    payload=st.binary(max_size=100),
))  # fmt: skip
def test_pictures_survive_the_wire(picture: Picture) -> None:
    assert decode_picture(encode_picture(picture)) == picture


def test_picture_header_is_the_documented_one() -> None:
    data = encode_picture(Picture(KIND_H264, True, 0x01020304, 5, 1.5, 2.5, b"xyz"))
    assert data.hex() == "0201000004030201050000000000c03f0000000000000440" + b"xyz".hex()
    assert HEADER_BYTES == 24


# -- hostile input

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
_fields = sorted(
    {"seq", "keys", "yaw", "pitch", "move", "t", "seed", "prompt", "watch", "codec", "v", "frame", "input"}
)


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_garbage_is_refused_politely(raw: bytes | str) -> None:
    with pytest.raises(MalformedMessage):
        decode_client(raw)


@given(st.sampled_from([*CLIENT_MESSAGES, "nonsense"]), st.dictionaries(st.sampled_from(_fields), _json))
def test_any_field_values_decode_or_are_refused(kind: str, values: dict[str, Any]) -> None:
    try:
        message = decode_client(json.dumps({"type": kind, **values}))
    except MalformedMessage:
        return
    assert decode_client(encode(message)) == message
    for value in (getattr(message, name, 0) for name in ("yaw", "pitch", "t", "latency_ms")):
        assert math.isfinite(value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 400, "9" * 5000, '"1"'])
def test_no_number_that_is_not_finite_gets_in(number: str) -> None:
    with pytest.raises(MalformedMessage):
        decode_client(f'{{"type":"input","seq":1,"yaw":{number}}}')


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"input"}',
        '{"type":"input","seq":0}',
        '{"type":"input","seq":4294967296}',
        '{"type":"input","seq":true}',
        '{"type":"input","seq":1.5}',
        '{"type":"input","seq":1,"keys":"forward"}',
        '{"type":"input","seq":1,"keys":["jump"]}',
        '{"type":"input","seq":1,"keys":[["forward"]]}',
        '{"type":"input","seq":1,"move":[1]}',
        '{"type":"input","seq":1,"move":[1,2]}',
        '{"type":"input","seq":1,"move":[0,0,0]}',
        '{"type":"reset","seed":-1,"prompt":""}',
        '{"type":"reset","seed":2147483648,"prompt":""}',
        '{"type":"prompt","prompt":null}',
        '{"type":"rewind"}',
        '{"type":"rewind","frame":-1}',
        '{"type":"rewind","frame":4294967296}',
        '{"type":"rewind","frame":1.5}',
        '{"type":"rewind","frame":NaN}',
        '{"type":"rewind","frame":true}',
        '{"type":"branch","id":"1"}',
        '{"type":"hello","v":1,"seed":1,"prompt":"","replay":7}',
        '{"type":"hello","v":1,"seed":1,"prompt":"","replay":"' + "x" * 65 + '"}',
        '{"type":"prompt","prompt":"' + "x" * 501 + '"}',
        '{"type":"prompt","prompt":"\\ud800"}',
        '{"type":"hello","v":1,"seed":1,"prompt":"","codec":"gif"}',
        '{"type":"hello","v":1,"seed":1,"prompt":"","watch":1}',
        '{"type":"shown","frame":1,"input":1,"latency_ms":-1}',
        '{"type":["input"]}',
        '{"type":"welcome"}',
        "[]",
        "null",
        "",
        "[" * 5000,
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(MalformedMessage):
        decode_client(text)


def test_refusals_name_the_field() -> None:
    with pytest.raises(MalformedMessage, match=r"input\.yaw must be a number from"):
        decode_client('{"type":"input","seq":1,"yaw":1e7}')
    with pytest.raises(MalformedMessage, match=r"reset\.seed is missing"):
        decode_client('{"type":"reset","prompt":""}')


def test_unknown_fields_are_ignored() -> None:
    assert decode_client('{"type":"ping","t":1,"since":"version 2"}') == Ping(t=1.0)


@pytest.mark.parametrize("version", ["2", "0", "null", '"1"', "true", "1.0", "[1]"])
def test_other_versions_are_told_so(version: str) -> None:
    with pytest.raises(WrongVersion):
        decode_client(f'{{"type":"hello","v":{version},"seed":1,"prompt":""}}')
    with pytest.raises(WrongVersion):
        parse_hello({"type": "hello", "seed": 1, "prompt": ""})


def test_too_large_counts_bytes_not_characters() -> None:
    padded = json.dumps({"type": "ping", "t": 1, "x": ""})
    fits = padded[:-2] + "x" * (MAX_MESSAGE_BYTES - len(padded)) + padded[-2:]
    assert decode_client(fits) == Ping(t=1.0)
    with pytest.raises(MessageTooLarge):
        decode_client(fits + " ")
    with pytest.raises(MessageTooLarge):
        decode_client("ü" * (MAX_MESSAGE_BYTES // 2 + 1))


def test_offers_must_carry_a_hello() -> None:
    assert parse_hello({"type": "hello", "v": 1, "seed": 1, "prompt": "x"}) == Hello(seed=1, prompt="x")
    wrongs: list[object] = [{"type": "bye"}, {}, [], None, {"type": "hello", "v": 1, "seed": "1", "prompt": ""}]
    for wrong in wrongs:
        with pytest.raises(MalformedMessage):
            parse_hello(wrong)


def test_constructing_a_bad_message_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"hello\.seed"):
        Hello(seed=-1, prompt="")


@given(st.binary(max_size=60))
def test_broken_pictures_are_refused(data: bytes) -> None:
    try:
        picture = decode_picture(data)
    except MalformedMessage:
        return
    assert encode_picture(picture) == data


def test_a_picture_that_does_not_fit_its_header_is_an_error() -> None:
    with pytest.raises(ValueError, match="picture 4294967296"):
        encode_picture(Picture(KIND_JPEG, True, 2**32, 0, 0.0, 0.0, b""))


def test_key_names_are_those_of_the_model() -> None:
    from worldstream.worlds.core import KEYS

    assert protocol.KEY_NAMES == KEYS
