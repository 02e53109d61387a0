"""A decoder is given whole groups of pictures, and a missing key frame is asked for once."""

from __future__ import annotations

from worldstream.realtime.keyframe_gate import KeyframeGate


def test_only_whole_groups_pass_and_one_key_frame_is_asked_for() -> None:
    asked: list[None] = []
    gate = KeyframeGate(lambda: asked.append(None))
    assert [gate.lets(keyframe) for keyframe in (False, False, True, False, True, False)] == [
        False, False, True, True, True, True,
    ]  # fmt: skip
    assert len(asked) == 1
    gate.close()
    assert [gate.lets(keyframe) for keyframe in (False, False, True)] == [False, False, True]
    assert len(asked) == 2
    gate.close()
    assert gate.lets(True)
    assert len(asked) == 2, "a key frame that came by itself need not be asked for"
