"""BM25 over tokens, kept in step entry by entry: nothing is rebuilt when a text comes or goes."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from knowledge.spelling import Vocabulary

Floats = NDArray[np.float32]
K1, B = 1.2, 0.75


class LexicalIndex:
    """An inverted index whose texts are numbered by the caller (`slot`, small and reused).

    Scores are Okapi BM25 (Robertson & Zaragoza, The Probabilistic Relevance Framework, 2009) divided by what a text
    equal to the query would about score, so 1 means that everything asked is there. Not thread-safe.
    """

    def __init__(self) -> None:
        self._postings: dict[str, dict[int, int]] = {}
        self.vocabulary = Vocabulary(self._postings)
        self._texts: dict[int, Counter[str]] = {}
        self._lengths = np.zeros(1024, dtype=np.float32)
        self._total_tokens = 0
        # What each posting is worth as arrays, made when first asked for: any change shifts the mean length under all.
        self._worth: dict[str, tuple[NDArray[np.int64], Floats]] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, slot: int, tokens: Sequence[str]) -> None:
        """Index a text under `slot`, in place of what was there."""
        self.remove(slot)
        if slot >= len(self._lengths):
            self._lengths = np.concatenate([self._lengths, np.zeros(max(slot, len(self._lengths)), np.float32)])
        counts = Counter(tokens)
        for token, count in counts.items():
            if token not in self._postings:
                self._postings[token] = {}
                self.vocabulary.learn(token)
            self._postings[token][slot] = count
        self._texts[slot] = counts
        self._lengths[slot] = len(tokens)
        self._total_tokens += len(tokens)
        self._worth.clear()

    def remove(self, slot: int) -> None:
        """Forget the text under `slot`, if there is one."""
        counts = self._texts.pop(slot, None)
        if counts is None:
            return
        for token in counts:
            posting = self._postings[token]
            del posting[slot]
            if not posting:
                del self._postings[token]
                self.vocabulary.forget(token)
        self._total_tokens -= int(self._lengths[slot])
        self._lengths[slot] = 0
        self._worth.clear()

    def scores(self, tokens: Sequence[str]) -> Floats:
        """One score for every slot, 0 where nothing is shared; float32, shape [highest slot ever + some]."""
        size = len(self._lengths)
        if not self._texts or not tokens:
            return np.zeros(size, dtype=np.float32)
        ideal = 0.0
        places: list[NDArray[np.int64]] = []
        worths: list[Floats] = []
        for token, asked in Counter(tokens).items():
            posting = self._postings.get(token, {})
            weight = asked * self._rarity(len(posting))
            ideal += weight
            if posting:
                slots, worth = self._worth.get(token) or self._measure(token, posting)
                places.append(slots)
                worths.append(np.float32(weight) * worth)
        if not places:
            return np.zeros(size, dtype=np.float32)
        found = np.bincount(np.concatenate(places), np.concatenate(worths), size)
        return np.minimum(found / ideal, 1.0).astype(np.float32)

    def rarities(self, tokens: Sequence[str]) -> dict[str, float]:
        """The weight of each token: its inverse document frequency as `scores` counts it."""
        return {token: self._rarity(len(self._postings.get(token, ()))) for token in tokens}

    def _rarity(self, texts: int) -> float:
        return math.log(1 + (len(self._texts) - texts + 0.5) / (texts + 0.5))

    def _measure(self, token: str, posting: dict[int, int]) -> tuple[NDArray[np.int64], Floats]:
        slots = np.fromiter(posting.keys(), dtype=np.int64, count=len(posting))
        counts = np.fromiter(posting.values(), dtype=np.float32, count=len(posting))
        mean_length = max(self._total_tokens / len(self._texts), 1.0)
        length = 1 - B + B * self._lengths[slots] / mean_length
        worth: Floats = (counts * (K1 + 1) / (counts + K1 * length)).astype(np.float32)
        self._worth[token] = slots, worth
        return self._worth[token]
