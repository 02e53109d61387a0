"""What is refused, by whom, and what happens when nobody answers."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from worldstream.realtime.governance import moderation
from worldstream.realtime.governance.moderation import EndpointModerator, PhraseModerator, check_frame, check_order
from worldstream.realtime.jobs.contract import JobError


class Judge(BaseHTTPRequestHandler):
    """An endpoint of the moderation API: refuses what says "bomb", and any picture that begins with GIF."""

    asked: list[dict[str, Any]]
    status = 200

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked.append(body | {"path": self.path, "key": self.headers.get("Authorization")})
        part = body["input"][0]
        bad = "bomb" in part.get("text", "") or "R0lG" in part.get("image_url", {}).get("url", "")
        answer = json.dumps({"results": [{"flagged": bad, "categories": {"illicit": bad, "hate": False}}]}).encode()
        self.send_response(type(self).status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def judge() -> Iterator[tuple[str, type[Judge]]]:
    made = type("OneJudge", (Judge,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), made)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("text", ["a naked child", "a Chíld, nude", "n4ked ch1ld", "NAKED CHILD", "child, (nude)"])
def test_the_list_that_ships(text: str) -> None:
    assert PhraseModerator().words(text) is not None


@pytest.mark.parametrize(
    "text", ["", "desert at dusk", "children playing on a beach", "a naked tree in winter", "Essex"]
)
def test_what_the_list_lets_through(text: str) -> None:
    assert PhraseModerator().words(text) is None


def test_lines_of_the_operators_own(tmp_path: Path) -> None:
    (tmp_path / "moderation.txt").write_text("# ours\n\nRed Castle\n")
    own = PhraseModerator.of(tmp_path)
    assert own.words("the castle is red") is not None
    assert own.words("a castle") is None
    (tmp_path / "moderation.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"moderation\.txt cannot be read"):
        PhraseModerator.of(tmp_path)


def test_every_text_and_picture_of_an_order_is_looked_at(tmp_path: Path, judge: tuple[str, type[Judge]]) -> None:
    look = EndpointModerator(judge[0] + "/v1", key="secret")
    picture, film = tmp_path / "first.png", tmp_path / "video.mp4"
    picture.write_bytes(b"PNG")
    film.write_bytes(b"GIF: not looked at as a picture")
    params = {"prompt": "a", "camera": "pan left", "moments": [{"at_s": 1, "prompt": "b"}], "seed": 3}
    check_order(look, params, {"first": picture, "video": film})
    assert [body["input"][0].get("text", "picture") for body in judge[1].asked] == ["a", "pan left", "b", "picture"]
    assert {(body["path"], body["key"]) for body in judge[1].asked} == {("/v1/moderations", "Bearer secret")}
    with pytest.raises(JobError) as caught:
        check_order(look, {"prompt": "a", "moments": [{"at_s": 1, "prompt": "bomb"}]}, {})
    assert caught.value.code == "SAFETY.INPUT.TEXT"
    assert "illicit" in caught.value.message
    picture.write_bytes(b"GIF87a")
    with pytest.raises(JobError) as caught:
        check_order(look, {}, {"first": picture})
    assert caught.value.code == "SAFETY.INPUT.IMAGE"
    with pytest.raises(JobError) as caught:
        check_frame(look, b"GIF89a")
    assert caught.value.code == "SAFETY.OUTPUT.IMAGE"


def test_nobody_gets_past_a_judge_who_does_not_answer(judge: tuple[str, type[Judge]]) -> None:
    judge[1].status = 503
    for look in (EndpointModerator(judge[0]), EndpointModerator("http://127.0.0.1:9", timeout_s=0.5)):
        with pytest.raises(JobError) as caught:
            look.words("desert")
        assert caught.value.code == "INTERNAL"  # is tried again


def test_how_the_operator_chooses(tmp_path: Path, judge: tuple[str, type[Judge]]) -> None:
    assert moderation.moderator(tmp_path, {"WORLDSTREAM_MODERATION": "off"}) is None
    assert isinstance(moderation.moderator(tmp_path, {}), PhraseModerator)
    both = moderation.moderator(tmp_path, {"WORLDSTREAM_MODERATION_URL": judge[0]})
    assert both is not None
    assert both.words("a bomb") is not None
    judge[1].asked.clear()
    assert both.words("a naked child") is not None
    assert judge[1].asked == []  # what the list knows does not leave the machine
    with pytest.raises(ValueError, match="must be off, phrases or endpoint"):
        moderation.moderator(tmp_path, {"WORLDSTREAM_MODERATION": "yes"})
    with pytest.raises(ValueError, match="WORLDSTREAM_MODERATION_URL"):
        moderation.moderator(tmp_path, {"WORLDSTREAM_MODERATION": "endpoint"})
