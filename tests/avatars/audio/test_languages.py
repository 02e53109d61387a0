"""Which language a text is in, and what its code means."""

import pytest

from worldstream.avatars.audio.espeak import library_installed
from worldstream.avatars.audio.languages import ESPEAK_LANGUAGES, espeak_language, language_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The weather is nice and we are going to the sea.", "en"),
        ("Hello", "en"),
        ("Das Wetter ist schön und wir gehen an das Meer.", "de"),
        ("Il fait beau et nous allons à la mer avec les enfants.", "fr"),
        ("Hace buen tiempo y nos vamos a la playa con los niños.", "es"),
        ("O tempo está bom e vamos para a praia com as crianças.", "pt"),
        ("Il tempo è bello e andiamo al mare con gli amici.", "it"),
        ("Het weer is mooi en wij gaan naar het strand.", "nl"),
        ("Pogoda jest ładna i jedziemy na plażę.", "pl"),
        ("Hava güzel ve biz denize gidiyoruz, bu çok iyi.", "tr"),
        ("Погода хорошая, и мы едем на море.", "ru"),
        ("Погода гарна, і ми їдемо на море.", "uk"),
        ("Ο καιρός είναι καλός.", "el"),
        ("天气很好,我们去海边。", "cmn"),
        ("天気がいいので海に行きます。", "ja"),
        ("날씨가 좋아서 바다에 갑니다.", "ko"),
        ("الطقس جميل", "ar"),
        ("मौसम अच्छा है", "hi"),
        ("வானிலை நன்றாக உள்ளது", "ta"),
        ("123 !!!", "en"),
    ],
)
def test_texts(text: str, language: str) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize(
    ("code", "language"),
    [("pt-BR", "pt-br"), ("zh-CN", "cmn"), ("EN_us", "en-us"), ("de-AT", "de"), ("no", "nb"), ("es-MX", "es-419")],
)
def test_codes(code: str, language: str) -> None:
    assert espeak_language(code) == language


@pytest.mark.parametrize("code", ["fil", "xx", "../../etc", "en+../x", ""])
def test_codes_that_are_none(code: str) -> None:
    with pytest.raises(ValueError, match="do not speak"):
        espeak_language(code)


def test_every_language_is_one_of_the_engine() -> None:
    """By the engine's own files, which name what they speak."""
    found = library_installed()
    assert found is not None
    known = {
        line.split()[1]
        for path in (found.data / "lang").rglob("*")
        if path.is_file()
        for line in path.read_text(errors="replace").splitlines()
        if line.startswith("language ")
    }
    assert known >= ESPEAK_LANGUAGES
