"""Blocks of the cache and who is next, without a model."""

from hypothesis import given
from hypothesis import strategies as st

from bot.engines.blocks import BLOCK_TOKENS, Blocks, Pages
from bot.engines.waiting import FairQueue


def test_users_take_turns_and_keep_their_order() -> None:
    queue: FairQueue[str] = FairQueue()
    for user, thing in (("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("c", "c1"), ("b", "b2")):
        queue.add(user, thing)
    assert (len(queue), queue.waiting_of("a"), queue.waiting_of("nobody")) == (6, 3, 0)
    assert queue.take(lambda thing: thing != "a1") == "a2"
    assert [queue.take(lambda _: True) for _ in range(3)] == ["b1", "c1", "a1"]
    assert queue.take(lambda thing: thing.startswith("z")) is None
    assert queue.drop(lambda thing: thing == "a3") == ["a3"]
    assert list(queue) == ["b2"]
    assert [queue.take(lambda _: True), queue.take(lambda _: True)] == ["b2", None]


def test_a_beginning_is_computed_once() -> None:
    blocks = Blocks(20)
    fixed = list(range(3 * BLOCK_TOKENS))
    first = blocks.take([*fixed, 7, 8], 10)
    assert first
    assert first.computed == 0
    blocks.remember([*fixed, 7, 8], first)
    second = blocks.take([*fixed, 9], 10)
    assert second
    assert (second.computed, second.blocks[:3]) == (3 * BLOCK_TOKENS, first.blocks[:3])
    assert second.blocks[3] not in first.blocks
    blocks.give_back(first)
    blocks.give_back(second)
    assert blocks.free == 20
    # The last token is always left to compute.
    again = blocks.take(fixed, 1)
    assert again
    assert again.computed == 2 * BLOCK_TOKENS
    other = blocks.take([1, *fixed], 1)
    assert other
    assert other.computed == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 200), st.integers(1, 80), st.booleans()), max_size=60))
def test_no_block_is_ever_written_by_two(orders: list[tuple[int, int, int, bool]]) -> None:
    """Whatever comes and goes: what is computed of a text stays its own, and nothing is lost."""
    blocks = Blocks(16)
    holds: dict[int, tuple[int, ...]] = {}  # what was last computed into each block
    living: list[tuple[list[int], Pages]] = []
    for kind, length, more, leaves in orders:
        prompt = [kind] * min(length, 40) + list(range(length))
        pages = blocks.take(prompt, more)
        if pages:
            whole = prompt + [-1] * more
            for place, block in enumerate(pages.blocks):
                tokens = tuple(whole[place * BLOCK_TOKENS : (place + 1) * BLOCK_TOKENS])
                if place * BLOCK_TOKENS < pages.computed:
                    assert holds[block] == tokens
                else:
                    assert not any(block in other.blocks for _, other in living)
                    holds[block] = tokens
            blocks.remember(prompt, pages)
            living.append((prompt, pages))
        if leaves and living:
            blocks.give_back(living.pop(0)[1])
    for _, pages in living:
        blocks.give_back(pages)
    assert blocks.free == 16
