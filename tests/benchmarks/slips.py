"""One slip of typing each, made at random: what `typos.py` asks, and what `encoder_learn.py` may learn from, too."""

from collections import Counter
from collections.abc import Callable

import numpy as np

from knowledge.sounds import blurred, readings

Random = np.random.Generator
Slip = Callable[[str, Random, Counter[str]], str]


def chinese(text: str) -> list[int]:
    """Where characters stand that have a reading."""
    return [at for at, character in enumerate(text) if readings(character)]


def exchanged(text: str, random: Random, corpus: Counter[str], *, alike: bool) -> str:
    """One character for another of the same sound, or of one that is easily taken for it."""
    for at in random.permutation(chinese(text)).tolist():
        sound = readings(text[at])[0]
        others = [
            character
            for character in corpus
            if character != text[at]
            and (one := readings(character))
            and (blurred(one[0]) == blurred(sound) and one[0] != sound if alike else one[0] == sound)
        ]
        if others:
            weights = np.array([corpus[other] for other in others], dtype=float)
            return text[:at] + str(random.choice(others, p=weights / weights.sum())) + text[at + 1 :]
    return text


def homophone(text: str, random: Random, corpus: Counter[str]) -> str:
    return exchanged(text, random, corpus, alike=False)


def like_sound(text: str, random: Random, corpus: Counter[str]) -> str:
    return exchanged(text, random, corpus, alike=True)


def word_in_pinyin(text: str, random: Random, _: Counter[str]) -> str:
    places = [at for at in chinese(text)[:-1] if at + 1 in set(chinese(text))]
    if not places:
        return text
    at = int(random.choice(places))
    return text[:at] + readings(text[at])[0] + readings(text[at + 1])[0] + text[at + 2 :]


def all_in_pinyin(text: str, _random: Random, _: Counter[str]) -> str:
    return "".join(readings(character)[0] if readings(character) else character for character in text)


def swapped(text: str, random: Random, _: Counter[str]) -> str:
    at = int(random.integers(max(len(text) - 1, 1)))
    return text[:at] + text[at : at + 2][::-1] + text[at + 2 :]


def left_out(text: str, random: Random, _: Counter[str]) -> str:
    at = int(random.integers(len(text)))
    return text[:at] + text[at + 1 :] or text


SLIPS: dict[str, Slip] = {
    "as written": lambda text, *_: text,
    "homophone": homophone,
    "like sound": like_sound,
    "word in pinyin": word_in_pinyin,
    "all in pinyin": all_in_pinyin,
    "swapped": swapped,
    "left out": left_out,
}
