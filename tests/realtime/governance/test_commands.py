"""Keys and provenance from the command line."""

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from worldstream.realtime.governance import commands
from worldstream.realtime.governance.certificate import FOLDER, credential
from worldstream.realtime.governance.gate import Gate
from worldstream.realtime.governance.keys import BadKey
from worldstream.realtime.governance.provenance import Claim, Provenance
from worldstream.realtime.store.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "w.db")
    yield database
    database.close()


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    commands.add_parsers(parser.add_subparsers(dest="command"))
    return parser.parse_args(words)


async def test_a_key_from_its_birth_to_its_end(database: Database) -> None:
    said: list[str] = []
    assert commands.run_keys(parsed("keys", "list"), database, said.append) == 0
    assert "There are no keys" in said.pop()
    made = parsed("keys", "create", "--name", "robot", "--daily-quota", "5", "--scopes", "tasks, generate")
    commands.run_keys(made, database, said.append)
    secret, words = said
    assert re.fullmatch(r"key_[0-9a-f]{128}", secret)
    assert "shown this once" in words
    assert (await Gate(database, lambda: 1.0).admit(secret, "generate")).name == "robot"
    said.clear()
    commands.run_keys(parsed("keys", "list"), database, said.append)
    assert "robot" in said[0]
    assert "0 of 5 generations today" in said[0]
    assert secret not in said[0]
    commands.run_keys(parsed("keys", "revoke", "robot"), database, said.append)
    commands.run_keys(parsed("keys", "list"), database, said.append)
    assert "revoked" in said[-1]
    with pytest.raises(BadKey, match="no keys are named"):
        commands.run_keys(parsed("keys", "revoke", "robot"), database, said.append)


def test_credits_are_granted(database: Database) -> None:
    said: list[str] = []
    for _ in range(2):
        commands.run_keys(parsed("keys", "grant", "40"), database, said.append)
    assert said[-1] == "80 credits are in the account"
    with pytest.raises(BadKey, match="above 0"):
        commands.run_keys(parsed("keys", "grant", "-1"), database, said.append)


def test_inspecting(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    said: list[str] = []
    data = tmp_path / "data"
    assert commands.run_inspect(parsed("inspect", str(path)), data, said.append) == 1
    assert "says nothing" in said.pop()
    Provenance(credential(data / FOLDER), "1").sign(path, Claim("nano", facts={"seed": 3}))
    assert commands.run_inspect(parsed("inspect", str(path)), data, said.append) == 0
    assert "trusted here" in said[0]
    assert {"model: nano", "seed: 3"} <= set(said)
    said.clear()
    assert commands.run_inspect(parsed("inspect", "--json", str(path)), tmp_path / "elsewhere", said.append) == 0
    told = json.loads(said[0])
    assert (told["intact"], told["trusted"], told["model"]) == (True, False, "nano")
    whole = bytearray(path.read_bytes())
    whole[-16] ^= 1
    path.write_bytes(whole)
    said.clear()
    assert commands.run_inspect(parsed("inspect", str(path)), data, said.append) == 1
    assert "CHANGED" in said[0]
    with pytest.raises(ValueError, match="there is no file"):
        commands.run_inspect(parsed("inspect", str(tmp_path / "b.png")), data, said.append)
