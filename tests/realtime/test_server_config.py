"""Settings: environment, overrides, and one-line complaints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from worldstream.realtime.config import LimitsConfig, ServerConfig, TaskConfig, from_environment, override, version
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


def test_every_variable_of_the_offline_half() -> None:
    config = from_environment(
        {
            "WORLDSTREAM_DATABASE": "postgresql://localhost/worlds",
            "WORLDSTREAM_BLOBS": "s3://bucket/prefix",
            "WORLDSTREAM_PUBLIC_URL": "https://worlds.example.org/",
            "WORLDSTREAM_WEBHOOK_SECRET": "whsec_x",
            "WORLDSTREAM_TASK_PROCESSES": "3",
            "WORLDSTREAM_KEEP_OUTPUTS": "2.5",
            "WORLDSTREAM_WEBHOOKS_PRIVATE": "1",
            "WORLDSTREAM_CREDITS": "true",
            "WORLDSTREAM_MONTHLY_CAP": "5000",
            "WORLDSTREAM_DAILY_GENERATIONS": "gen4.5=50, *=200",
        }
    )
    assert config == ServerConfig(
        database="postgresql://localhost/worlds",
        blobs="s3://bucket/prefix",
        public_url="https://worlds.example.org",
        webhook_secret="whsec_x",
        tasks=TaskConfig(heavy=3, keep_outputs_days=2.5, webhooks_private=True),
        limits=LimitsConfig(True, 5000, {"gen4.5": 50, "*": 200}),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PUBLIC_URL", "worlds.example.org"), ("PUBLIC_URL", "https://x/?a"), ("PUBLIC_URL", "https://u@x"),
        ("TASK_PROCESSES", "65"), ("TASK_PROCESSES", "-1"), ("KEEP_OUTPUTS", "0"), ("KEEP_OUTPUTS", "nan"),
        ("KEEP_OUTPUTS", "soon"), ("MONTHLY_CAP", "much"), ("DAILY_GENERATIONS", "50"), ("CREDITS", "maybe"),
    ],
)  # fmt: skip
def test_bad_settings_of_the_offline_half(name: str, value: str) -> None:
    with pytest.raises(StartupError):
        from_environment({f"WORLDSTREAM_{name}": value})


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
