"""Which blocks of the key and value cache belong to which text, and which hold a beginning that others can use again.

Kwon et al. 2023 (paged attention), https://arxiv.org/abs/2309.06180. Full blocks of a prompt are known by a digest of
all tokens up to their end; they stay after their text has ended until their room is needed, the longest unused first.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BLOCK_TOKENS = 32
"""What OpenVINO's paged attention on a processor works with."""


@dataclass(slots=True, eq=False)
class Pages:
    """The blocks of one text, in order, and how many tokens are computed already."""

    blocks: list[int]
    computed: int = 0


class Blocks:
    """The numbers 0 to `count` - 1, handed out and taken back."""

    def __init__(self, count: int) -> None:
        self._users = [0] * count
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(count))
        self._by_digest: dict[bytes, int] = {}
        self._digests: dict[int, bytes] = {}

    @property
    def free(self) -> int:
        """Blocks that no text uses."""
        return len(self._free)

    def take(self, prompt: Sequence[int], tokens_max: int) -> Pages | None:
        """Room for the prompt and `tokens_max` more, beginning with what is known of the prompt; None without room.

        At least the prompt's last token is left to compute, since its result is wanted.
        """
        known = []
        for digest in _digests(prompt, (len(prompt) - 1) // BLOCK_TOKENS):
            block = self._by_digest.get(digest)
            if block is None:
                break
            known.append(block)
        fresh = -(-(len(prompt) + tokens_max) // BLOCK_TOKENS) - len(known)
        if fresh > len(self._free) - sum(block in self._free for block in known):
            return None
        for block in known:
            self._free.pop(block, None)
        blocks = known + [self._fresh() for _ in range(fresh)]
        for block in blocks:
            self._users[block] += 1
        return Pages(blocks, len(known) * BLOCK_TOKENS)

    def remember(self, prompt: Sequence[int], pages: Pages) -> None:
        """The prompt is computed: its full blocks may serve other texts from now on."""
        for block, digest in zip(pages.blocks, _digests(prompt, len(prompt) // BLOCK_TOKENS), strict=False):
            if digest not in self._by_digest:
                self._by_digest[digest] = block
                self._digests[block] = digest

    def give_back(self, pages: Pages) -> None:
        """The text has ended. The end of a beginning is given up first: without it the rest still serves."""
        for block in reversed(pages.blocks):
            self._users[block] -= 1
            if not self._users[block]:
                self._free[block] = None
                if block not in self._digests:
                    self._free.move_to_end(block, last=False)
        pages.blocks = []

    def _fresh(self) -> int:
        block, _ = self._free.popitem(last=False)
        digest = self._digests.pop(block, None)
        if digest is not None:
            del self._by_digest[digest]
        return block


def _digests(prompt: Sequence[int], blocks: int) -> list[bytes]:
    found, digest = [], b""
    for number in range(blocks):
        part = np.array(prompt[number * BLOCK_TOKENS : (number + 1) * BLOCK_TOKENS], dtype=np.int32)
        digest = hashlib.blake2b(digest + part.tobytes(), digest_size=16).digest()
        found.append(digest)
    return found
