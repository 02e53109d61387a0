"""The names that the contract knows: voices and avatars that come with the server."""

from __future__ import annotations

from typing import Literal

# name -> how its offline voice sounds; the names are the contract's, the sound is this server's own
LIVE_VOICES: dict[str, str] = {
    "victoria": "A woman, composed and low.",
    "vincent": "A man, deep and slow.",
    "clara": "A young woman, bright.",
    "drew": "A man, relaxed.",
    "skye": "A young woman, light and quick.",
    "max": "A young man, quick.",
    "morgan": "A man, deep and calm.",
    "felix": "A young man, cheerful.",
    "mia": "A young woman, cheerful.",
    "marcus": "A man, firm.",
    "summer": "A young woman, warm.",
    "ruby": "A woman, lively.",
    "aurora": "A woman, soft.",
    "jasper": "A man, soft.",
    "leo": "A young man, warm.",
    "adrian": "A man, clear.",
    "nina": "A woman, clear.",
    "emma": "A woman, friendly.",
    "blake": "A man, friendly.",
    "david": "A man, steady.",
    "maya": "A woman, steady.",
    "nathan": "A young man, calm.",
    "sam": "A young man, even.",
    "georgia": "An older woman, slow.",
    "petra": "A woman, brisk.",
    "adam": "A man, brisk.",
    "zach": "A young man, high.",
    "violet": "A young woman, high.",
    "roman": "An older man, deep.",
    "luna": "A young woman, quiet.",
}
LiveVoice = Literal[
    "victoria", "vincent", "clara", "drew", "skye", "max", "morgan", "felix", "mia", "marcus", "summer", "ruby",
    "aurora", "jasper", "leo", "adrian", "nina", "emma", "blake", "david", "maya", "nathan", "sam", "georgia", "petra",
    "adam", "zach", "violet", "roman", "luna",
]  # fmt: skip
SpeechVoice = Literal[
    "Maya", "Arjun", "Serene", "Bernard", "Billy", "Mark", "Clint", "Mabel", "Chad", "Leslie", "Eleanor", "Elias",
    "Elliot", "Grungle", "Brodie", "Sandra", "Kirk", "Kylie", "Lara", "Lisa", "Malachi", "Marlene", "Martin", "Miriam",
    "Monster", "Paula", "Pip", "Rusty", "Ragnar", "Xylar", "Maggie", "Jack", "Katie", "Noah", "James", "Rina", "Ella",
    "Mariah", "Frank", "Claudia", "Niki", "Vincent", "Kendrick", "Myrna", "Tom", "Wanda", "Benjamin", "Kiana", "Rachel",
]  # fmt: skip
PresetAvatar = Literal[
    "game-character", "music-superstar", "game-character-man", "cat-character", "influencer", "tennis-coach",
    "human-resource", "fashion-designer", "cooking-teacher",
]  # fmt: skip
AVATAR_NAMES: dict[str, str] = {
    "game-character": "Game character",
    "music-superstar": "Music superstar",
    "game-character-man": "Game character (man)",
    "cat-character": "Cat",
    "influencer": "Influencer",
    "tennis-coach": "Tennis coach",
    "human-resource": "Human resources",
    "fashion-designer": "Fashion designer",
    "cooking-teacher": "Cooking teacher",
}
