"""In what language a text is written, and what espeak-ng calls that language."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

# script, as the beginning of its characters' Unicode names -> language
_SCRIPTS = {
    "HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "CJK": "cmn", "GREEK": "el", "HEBREW": "he", "ARABIC": "ar",
    "DEVANAGARI": "hi", "TAMIL": "ta", "TELUGU": "te", "BENGALI": "bn", "GUJARATI": "gu", "GURMUKHI": "pa",
    "KANNADA": "kn", "MALAYALAM": "ml", "THAI": "th", "GEORGIAN": "ka", "ARMENIAN": "hy", "SINHALA": "si",
    "ETHIOPIC": "am", "MYANMAR": "my",
}  # fmt: skip
# the short words that a text in the Latin alphabet cannot do without
_WORDS = {
    "en": "the and of to is in you that it for was with are this have not be on we he she they what",
    "de": "der die das und ist nicht ich ein eine zu mit auf den wir sie es im von für dem auch",
    "fr": "le la les et est un une des du je que pas vous nous dans pour sur avec il elle ce au",
    "es": "el la los las y es un una de que no en por con para se está como lo mi del al",
    "it": "il lo la gli e è un una di che non in per con sono si come ma del della mi al",
    "pt": "o a os as e é um uma de que não em por com para se está como do da eu ao",
    "nl": "de het een en is niet ik van in op met voor dat wij zij je aan er ook naar te",
    "pl": "i w nie na się jest to że z do jak ale po co tak za od przez dla mnie",
    "sv": "och är det att en ett som på inte jag av för med den till vi har om du han",
    "da": "og er det at en et som på ikke jeg af for med den til vi har om du han hvad",
    "fi": "ja on ei se että hän minä oli mutta kun niin mitä tämä ovat minun sinä kuin",
    "cs": "a je to se na že v s jsem ale jak do co tak jsou by pro za jeho být",
    "sk": "a je to sa na že v s som ale ako do čo tak sú by pre za jeho byť",
    "hr": "i je u da se na su za od što nije sam ali kako to iz će bi s ne",
    "ro": "și este nu un o de la în cu pe care ce mai să din pentru am sunt că al",
    "tr": "ve bir bu da de için ne çok ben sen değil var mi ama gibi daha o ile en",
    "id": "dan yang di itu ini tidak saya ada dengan untuk dari ke akan kamu kita pada adalah",
    "vi": "và là của có không tôi một những cho với được này trong người đã các",
    "hu": "a az és nem hogy egy is van meg ez de csak mint már én te ki volt",
}  # fmt: skip
_KNOWN = {language: set(words.split()) for language, words in _WORDS.items()}
# what others call a language -> what espeak-ng calls it
_ALIASES = {
    "zh": "cmn", "zh-cn": "cmn", "zh-tw": "cmn", "zh-hans": "cmn", "zh-hant": "cmn", "zh-hk": "yue", "no": "nb",
    "en-gb": "en", "en-us": "en-us", "pt-br": "pt-br", "pt-pt": "pt", "es-419": "es-419", "es-mx": "es-419",
    "iw": "he", "in": "id", "fr-be": "fr-be", "fr-ch": "fr-ch", "en-029": "en-029", "en-gb-scotland": "en-gb-scotland",
    "en-gb-x-rp": "en-gb-x-rp", "en-gb-x-gbclan": "en-gb-x-gbclan", "en-gb-x-gbcwmd": "en-gb-x-gbcwmd",
    "en-us-nyc": "en-us-nyc",
}  # fmt: skip
ESPEAK_LANGUAGES = frozenset({
    "af", "am", "an", "ar", "as", "az", "ba", "be", "bg", "bn", "bs", "ca", "cmn", "cs", "cy", "da", "de", "el",
    "en", "en-us", "eo", "es", "es-419", "et", "eu", "fa", "fi", "fr", "fr-be", "fr-ch", "ga", "gd", "gn", "gu",
    "he", "hi", "hr", "ht", "hu", "hy", "id", "is", "it", "ja", "ka", "kk", "kn", "ko", "ku", "ky", "la", "lb",
    "lt", "lv", "mi", "mk", "ml", "mr", "ms", "mt", "my", "nb", "ne", "nl", "or", "pa", "pl", "pt", "pt-br", "ro",
    "ru", "sd", "si", "sk", "sl", "sq", "sr", "sv", "sw", "ta", "te", "th", "tk", "tr", "tt", "ug", "uk", "ur",
    "uz", "vi", "yue",
})  # fmt: skip


def language_of(text: str) -> str:
    """espeak-ng's code of the language that a text is most likely in; `en` where nothing speaks for another.

    By script first, then by function words. Short texts in the Latin alphabet are often undecidable: say it yourself.
    """
    letters = [c for c in text if c.isalpha()]
    scripts = Counter(unicodedata.name(c, "").split(" ")[0].split("-")[0] for c in letters)
    if scripts["HIRAGANA"] + scripts["KATAKANA"] > 0:
        return "ja"
    script = scripts.most_common(1)[0][0] if scripts else "LATIN"
    if script == "CYRILLIC":
        return _cyrillic(text.lower())
    if script == "ARABIC":
        return "ur" if re.search("[ٹڈڑے]", text) else "fa" if re.search("[پچژگ]", text) else "ar"
    if script in _SCRIPTS:
        return _SCRIPTS[script]
    words = re.findall(r"[^\W\d_]+", text.lower())
    scores = {language: sum(word in known for word in words) for language, known in _KNOWN.items()}
    best = max(scores, key=lambda language: scores[language])
    return best if scores[best] > scores["en"] else "en"


def _cyrillic(text: str) -> str:
    if re.search("[іїєґ]", text):
        return "uk" if not re.search("[ўы]", text) else "be"
    if re.search("[ђћџљњј]", text):
        return "mk" if re.search("[ѓќѕ]", text) else "sr"
    return "bg" if "ъ" in text and not re.search("[ыэё]", text) else "ru"


def espeak_language(code: str) -> str:
    """espeak-ng's name for a language code such as `pt-BR`. Raises ValueError on one that it cannot speak."""
    said = code.strip().lower().replace("_", "-")
    for candidate in (said, said.split("-")[0]):
        if candidate in _ALIASES:
            return _ALIASES[candidate]
        if candidate in ESPEAK_LANGUAGES:
            return candidate
    known = ", ".join(sorted(ESPEAK_LANGUAGES))
    raise ValueError(f"the offline voices do not speak {code!r}; they speak {known}")
