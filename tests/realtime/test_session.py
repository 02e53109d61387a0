"""What a session can be told about its words."""

from __future__ import annotations

from worldstream.realtime.session import unknown_words


def test_unknown_words() -> None:
    assert unknown_words("", ()) == ()
    assert unknown_words("forest, forest! d'été x2", ("forest",)) == ("d'été", "x2")
    assert unknown_words("the forest at dusk", ("forest", "dusk")) == ()
    assert unknown_words("Snowy pines, 12 dragons", ("snowy pine",)) == ("12", "dragons"), "plurals are no other words"
