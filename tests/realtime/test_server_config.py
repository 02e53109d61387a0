"""Settings: environment, overrides, and one-line complaints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from worldstream.realtime.config import ServerConfig, from_environment, override, version
from worldstream.realtime.errors import StartupError


def test_defaults_are_loopback() -> None:
    config = from_environment({})
    assert (config.host, config.port, config.engine, config.steps, config.stamp) == (
        "127.0.0.1", 8800, "auto", None, False,
    )  # fmt: skip


def test_every_variable() -> None:
    config = from_environment(
        {
            "WORLDSTREAM_HOST": "0.0.0.0",
            "WORLDSTREAM_PORT": "9000",
            "WORLDSTREAM_DATA": "/tmp/x",
            "WORLDSTREAM_WORLD": "nano",
            "WORLDSTREAM_ENGINE": "eager",
            "WORLDSTREAM_STEPS": "3",
            "WORLDSTREAM_STAMP": "true",
            "WORLDSTREAM_LOG_LEVEL": "debug",
            "WORLDSTREAM_ORIGINS": "https://a.example/, https://b.example",
        }
    )
    assert config == ServerConfig(
        host="0.0.0.0",
        port=9000,
        data=Path("/tmp/x"),
        world="nano",
        engine="eager",
        steps=3,
        stamp=True,
        log_level="debug",
        origins=("https://a.example", "https://b.example"),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "http"), ("PORT", "70000"), ("STEPS", "0"), ("STEPS", "-1"), ("STAMP", "maybe"), ("ENGINE", "warp"),
     ("LOG_LEVEL", "loud")],
)  # fmt: skip
def test_bad_values_are_startup_errors(name: str, value: str) -> None:
    with pytest.raises(StartupError, match=re.escape(value.removeprefix("-"))):
        from_environment({f"WORLDSTREAM_{name}": value})


def test_flags_win_and_absent_flags_change_nothing() -> None:
    config = override(from_environment({"WORLDSTREAM_PORT": "9000"}), {"port": None, "world": "nano"})
    assert (config.port, config.world) == (9000, "nano")
    assert override(config, {"port": 9001}).port == 9001


def test_version_is_that_of_the_package() -> None:
    assert re.fullmatch(r"\d+(\.\d+)*.*", version())
