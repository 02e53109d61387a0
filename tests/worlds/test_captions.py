"""The caption grammar: what it writes, what it reads back, and that no prompt can hurt it."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldstream.worlds.procedural import captions
from worldstream.worlds.procedural.attributes import MOODS, THEMES, TIMES, WEATHERS, Attributes
from worldstream.worlds.procedural.captions import VOCABULARY, Hints, caption, parse, understood, unknown, words

SLOTS = ("theme", "time", "weather", "mood")
VALUES = {"theme": THEMES, "time": TIMES, "weather": WEATHERS, "mood": MOODS}
UNIT = st.floats(0, 1)
ATTRIBUTES = st.builds(
    Attributes, *(st.integers(0, len(VALUES[slot]) - 1) for slot in SLOTS), density=UNIT, relief=UNIT, variety=UNIT
)


def _attributes(indices: list[int], density: float, relief: float, variety: float) -> Attributes:
    theme, daytime, weather, mood = indices
    return Attributes(theme, daytime, weather, mood, density, relief, variety)


def _random_attributes(rng: random.Random) -> Attributes:
    indices = [rng.randrange(len(VALUES[slot])) for slot in SLOTS]
    return _attributes(indices, rng.random(), rng.random(), rng.random())


@pytest.fixture(scope="module")
def sample() -> list[tuple[Attributes, str]]:
    """20,000 captions of random attributes."""
    rng = random.Random(20)
    return [(attributes, caption(attributes, rng)) for attributes in (_random_attributes(rng) for _ in range(20_000))]


@given(ATTRIBUTES, st.integers(0, 2**63))
def test_captions_read_back_as_their_attributes(attributes: Attributes, seed: int) -> None:
    text = caption(attributes, random.Random(seed))
    hints = parse(text)
    for slot in SLOTS:
        assert getattr(hints, slot) in (None, getattr(attributes, slot)), text
    assert text == "" or hints != Hints(), text  # a caption that is not empty says something
    assert unknown(text) == ()
    assert set(words(text)) <= set(VOCABULARY)


@given(ATTRIBUTES, st.integers(0, 2**63))
def test_a_seed_decides_the_caption(attributes: Attributes, seed: int) -> None:
    assert caption(attributes, random.Random(seed)) == caption(attributes, random.Random(seed))


def test_known_captions_do_not_drift() -> None:
    rng = random.Random(7)
    attributes = Attributes(0, 4, 4, 2, density=0.9, relief=0.1, variety=0.5)
    assert [caption(attributes, rng) for _ in range(4)] == [
        "at nightfall, forest",
        "a photo of a foggy warm forest at dusk on level ground",
        "the level cluttered oak grove, foggy",
        "a place like a forest, in the fog, cluttered, cozy",
    ]


def test_every_value_is_mentioned(sample: list[tuple[Attributes, str]]) -> None:
    seen = Counter((slot, getattr(parse(text), slot)) for _, text in sample for slot in SLOTS)
    for slot in SLOTS:
        assert min(seen[slot, index] for index in range(len(VALUES[slot]))) > 1000


def test_drop_rates(sample: list[tuple[Attributes, str]]) -> None:
    hints = [parse(text) for _, text in sample if text]
    assert 1 - len(hints) / len(sample) == pytest.approx(0.08, abs=0.01)
    for slot in SLOTS:
        dropped = sum(getattr(hint, slot) is None for hint in hints) / len(hints)
        assert dropped == pytest.approx(0.05 if slot == "theme" else 0.35, abs=0.015), slot


def test_captions_are_tidy(sample: list[tuple[Attributes, str]]) -> None:
    for _, text in sample:
        assert text == text.strip(" ,") == text.lower()
        assert ",," not in text
        assert "  " not in text
        assert not text.endswith((" a", " an", " the"))
        assert len(text.split()) <= captions.MAX_WORDS, text  # so that words() loses nothing


def test_theme_names_stand_as_they_are(sample: list[tuple[Attributes, str]]) -> None:
    count = Counter(THEMES[a.theme] for a, text in sample if THEMES[a.theme] in text)
    total = Counter(THEMES[a.theme] for a, _ in sample)
    for name in THEMES:
        assert count[name] > 0.3 * total[name], name


@pytest.mark.parametrize("prompt", ["a foggy forest at dusk", "forest", "desert, night", "neon city", "night, desert"])
def test_short_prompts_are_written(prompt: str) -> None:
    hints = parse(prompt)
    indices = [getattr(hints, slot) or 0 for slot in SLOTS]
    rng = random.Random(3)
    assert prompt in {caption(_attributes(indices, 0.5, 0.5, 0.5), rng) for _ in range(20_000)}


def test_numbers_choose_their_words() -> None:
    def seen(level: float) -> set[str]:
        rng = random.Random(5)
        attributes = Attributes(1, 2, 0, 0, density=level, relief=level, variety=level)
        return {word for _ in range(500) for word in words(caption(attributes, rng))}

    assert {"sparse", "flat", "uniform"} <= seen(0.1) - seen(0.9) - seen(0.5)
    assert {"crowded", "hilly", "varied"} <= seen(0.9) - seen(0.1) - seen(0.5)


def test_every_template_has_every_slot_once() -> None:
    assert len(set(captions.TEMPLATES)) == 40
    for template in captions.TEMPLATES:
        slots = sorted(token.rstrip("+") for token in template.split() if token.isupper())
        assert slots == ["MOOD", "NUMBER", "THEME", "TIME", "WEATHER"], template


def test_vocabulary_is_what_captions_use(sample: list[tuple[Attributes, str]]) -> None:
    assert list(VOCABULARY) == sorted(set(VOCABULARY))
    assert 250 <= len(VOCABULARY) <= 350
    assert {word for _, text in sample for word in words(text)} == set(VOCABULARY)


def test_phrases_keep_their_meaning_next_to_each_other() -> None:
    """No word is shared so that two phrases side by side, in either order, read as something else."""
    phrases = captions._EMITTED
    for (one, (slot, index)), (two, (slot2, index2)) in itertools.product(phrases, phrases):
        if slot != slot2:
            meant = [index if i == slot else index2 if i == slot2 else None for i in range(4)]
            assert parse(f"{one} {two}") == Hints(*meant), (one, two)


def test_the_reader_knows_no_word_that_the_writer_never_writes() -> None:
    assert {word for phrase in captions._PHRASES for word in phrase} <= set(VOCABULARY)


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("", (None, None, None, None)),
        ("A Foggy FOREST at dusk!", ("forest", "dusk", "foggy", None)),
        ("Ocean-cliffs; golden hour…", ("ocean cliffs", "golden hour", None, None)),
        ("a forest in winter", ("snowy pines", None, None, None)),
        ("the forest, autumn colors", ("autumn forest", None, None, None)),
        ("a moonlit forest", ("forest", "night", None, None)),
        ("moonlit ruins, noon", ("moonlit ruins", "noon", None, None)),
        ("a desert island", ("tropical island", None, None, None)),
        ("a desert near a forest", ("desert", None, None, None)),
        ("a forest without fog, not gloomy, hazy", ("forest", None, "hazy", None)),
        ("no clouds over the canyons", ("canyon", None, "clear", None)),
        ("after dark", (None, "night", None, None)),
        ("ｆｏｒｅｓｔ ＮＩＧＨＴ", ("forest", "night", None, None)),
        ("fo\u0301rest, winter's", ("snowy pines", None, None, None)),
        ("a purple spaceship", (None, None, None, None)),
    ],
)
def test_parse(prompt: str, names: tuple[str | None, ...]) -> None:
    hints = parse(prompt)
    found = [getattr(hints, slot) for slot in SLOTS]
    assert tuple(i if i is None else VALUES[slot][i] for slot, i in zip(SLOTS, found, strict=True)) == names


def test_every_name_parses_to_itself() -> None:
    for slot in SLOTS:
        for index, name in enumerate(VALUES[slot]):
            assert parse(name) == Hints(**{slot: index})
            assert understood(name) == (" ".join(words(name)),)


def test_understood_and_unknown() -> None:
    prompt = "Show me a purple forest at the golden hour with dragons and dragons, hilly"
    assert understood(prompt) == ("forest", "golden hour", "hilly")
    assert unknown(prompt) == ("purple", "dragon")
    assert understood("") == unknown("") == understood("in the a") == unknown("in the a") == ()


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Cliffs, skies & beaches", ("cliff", "sky", "beach")),
        ("grass cactus oasis gas bus", ("grass", "cactus", "oasis", "gas", "bus")),
        ("caf\u00e9 na\u00efve", ("cafe", "naive")),
        ("na\u0000ked\u200bword 4x4 under_score", ("na", "ked", "word", "x", "under", "score")),
        ("Лес ночью 森林 숲", ("лес", "ночью", "森林", "숲")),
        ("🌲🌫️ \ud800 !!", ()),
        ("a" * 100_000, ("a" * 32,)),
        ("x " * 50_000, ("x",) * 32),
    ],
)
def test_words(prompt: str, expected: tuple[str, ...]) -> None:
    assert words(prompt) == expected


@given(st.text(alphabet=st.characters(codec=None), max_size=300))
def test_any_text_is_taken(prompt: str) -> None:
    found = words(prompt)
    assert len(found) <= 32
    assert all(0 < len(word) <= 32 for word in found)
    content = [word for piece in understood(prompt) + unknown(prompt) for word in piece.split()]
    assert set(content) <= set(found)
    assert not set(unknown(prompt)) & set(VOCABULARY)
    parse(prompt)


@pytest.mark.parametrize(
    "unit", ["a", "fog ", "\u0301\u0316", "\ufdfa", "\0", "🌲", "s's", "of ", "ies", "\ud800", "숲"]
)
def test_long_input_is_quick(unit: str) -> None:
    prompt = (unit * 100_000)[:100_000]
    start = time.process_time()
    for reader in (words, understood, unknown, parse):
        reader(prompt)
    assert time.process_time() - start < 0.5  # about 10 ms here
