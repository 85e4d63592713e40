"""Which entry a message of a conversation is read for, over a real index of a small shop."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from bot.dialogue.context.reading import Reading, in_context
from bot.dialogue.policy import RELEVANT_MIN
from bot.dialogue.types import Turn, Utterance
from knowledge.index import Index
from knowledge.types import Encoder, Entry, Passage, SearchResult, TextKind

SHOP = [
    Entry("9087", "PPR-9087电池多大", "48V24Ah，续航 65 公里。"),
    Entry("9088", "PPR-9088电池多大", "60V24Ah，续航 80 公里。"),
    Entry("friday", "黑五有什么活动", "黑五三天全场八折。"),
    Entry("freight", "退货运费谁出", "质量问题我们出，其他由您出。"),
    Entry("green", "绿茶保质期多久", "18 个月，请冷藏。"),
    Entry("red", "红茶保质期多久", "36 个月。"),
    Entry("invoice", "怎么开发票", "在订单里申请，电子发票发到邮箱。"),
    Entry("wall", "水管 PN-4410 的壁厚是多少", "4.2 毫米。"),
    Entry("hours", "几点关门", "每天 19:30。"),
    Entry("rent", "可以租琴吗", "可以，立式钢琴 280 元/月，押金 2,000 元；古筝 90 元/月。"),
    Entry("room", "琴房可以租来练琴吗", "学员每小时 25 元，提前预约。"),
]


class Knowledge:
    """A knowledge base in memory, as a turn sees it."""

    def __init__(self, encoder: Encoder) -> None:
        self._entries = {one.id: one for one in SHOP}
        self._index = Index.open(None, encoder)
        self._index.synchronise(SHOP)

    async def search(self, query: str, k: int = 10, *, channel: str | None = None) -> SearchResult:
        return self._index.search(query, k)

    async def search_all(
        self, queries: Sequence[str], k: int = 10, *, channel: str | None = None
    ) -> list[SearchResult]:
        return self._index.search_all(queries, k)

    async def alike(self, query: str, texts: Sequence[str], kind: TextKind) -> list[float]:
        return self._index.alike(query, texts, kind)

    def expect(self, query: str) -> None:
        pass

    def entry(self, entry_id: str, channel: str | None = None) -> Entry | None:
        return self._entries.get(entry_id)

    def passage(self, passage_id: str) -> Passage | None:
        return None


@pytest.fixture(scope="module")
def knowledge(shared_encoder: Encoder) -> Knowledge:
    return Knowledge(shared_encoder)


async def read(knowledge: Knowledge, answered: str, text: str) -> Reading:
    """What a message is read for after an entry was asked for word for word."""
    entry = knowledge.entry(answered)
    assert entry is not None
    said = Utterance("bot", entry.answer, "answer", (), (entry.id,), (entry.question,))
    turn = Turn("c", text, (Utterance("user", entry.question), said))
    return await in_context(turn, await knowledge.search(text), knowledge)


@pytest.mark.parametrize(
    ("answered", "text", "asked"),
    [("9087", "PPR-9088呢", "9088"), ("green", "红茶呢", "red"), ("red", "那绿茶呢", "green")],
)
async def test_the_like_of_what_was_answered_is_asked_the_same(knowledge, answered, text, asked):
    found = (await read(knowledge, answered, text)).found
    assert (found.decision, found.hits[0].id) == ("answer", asked)


@pytest.mark.parametrize(
    ("answered", "text"), [("friday", "双十一优惠活动"), ("friday", "国庆有活动吗"), ("freight", "换货呢")]
)
async def test_another_thing_is_not_answered_from_what_was_said(knowledge, answered, text):
    reading = await read(knowledge, answered, text)
    assert reading.entry is None
    assert reading.found.decision != "answer"


async def test_what_goes_on_with_the_subject_still_does(knowledge):
    reading = await read(knowledge, "friday", "是几天")
    assert reading.entry is not None
    assert reading.entry.id == "friday"


async def test_a_clause_that_surely_asks_what_the_whole_seems_to_ask_makes_it_sure(knowledge):
    text = "几点关门 我下班可能要七点半才能过去你们那边"
    whole = await knowledge.search(text)
    assert (whole.decision, whole.hits[0].id) == ("clarify", "hours")
    found = (await in_context(Turn("c", text), whole, knowledge)).found
    assert (found.decision, found.hits[0].id) == ("answer", "hours")


@pytest.mark.parametrize("text", ["PN-4411 壁厚是多少", "我用的是 PN-4411，壁厚是多少"])
async def test_a_part_of_a_message_is_not_answered_for_another_model_than_the_whole_names(knowledge, text):
    reading = await in_context(Turn("c", text), await knowledge.search(text), knowledge)
    assert reading.found.decision == "clarify"


async def test_what_names_no_model_is_not_answered_for_another_than_was_spoken_of(knowledge):
    text = "水管的壁厚是多少"
    alone = await knowledge.search(text)
    assert (alone.decision, alone.hits[0].id) == ("answer", "wall")
    assert (await in_context(Turn("c", text), alone, knowledge)).found.decision == "answer"
    assert (await read(knowledge, "invoice", text)).found.decision == "answer"
    found = (await read(knowledge, "9087", text)).found
    assert (found.decision, found.options[:1]) == ("clarify", ("wall",))
    refused = (Utterance("user", "PPR-9087 能上高速吗"), Utterance("bot", "请问人工。", "handoff"))
    asked = (await in_context(Turn("c", text, refused), alone, knowledge)).found
    assert (asked.decision, asked.options[:1]) == ("clarify", ("wall",))
    named = await read(knowledge, "9087", "PN-4410 的壁厚是多少")
    assert (named.found.decision, named.found.hits[0].id) == ("answer", "wall")


async def test_a_part_of_a_message_is_answered_where_the_rest_names_nothing_else(knowledge):
    text = "我买的是 PPR-9089 怎么开发票"
    reading = await in_context(Turn("c", text), await knowledge.search(text), knowledge)
    assert (reading.found.decision, reading.found.hits[0].id) == ("answer", "invoice")


async def test_what_the_words_alone_would_be_answered_with_is_offered(knowledge):
    text = "不是，我是说租琴房"
    alone = await knowledge.search(text)
    hits = sorted(alone.hits, key=lambda hit: hit.id != "invoice")
    # As if an entry far from what was said before would answer them.
    sure = replace(alone, decision="answer", probability=0.8, hits=tuple(hits))
    entry = knowledge.entry("rent")
    said = Utterance("bot", entry.answer, "answer", (), (entry.id,), (entry.question,))
    turn = Turn("c", text, (Utterance("user", entry.question), said))
    offered = (await in_context(turn, sure, knowledge)).found.options
    assert offered[0] == "rent"
    assert offered[-1] == "invoice"


@pytest.mark.parametrize("relevance", [RELEVANT_MIN + 1, 0.0])
async def test_what_a_document_says_to_the_words_alone_is_told(knowledge, relevance):
    text = "租的琴摔坏了要赔多少"
    alone = replace(await knowledge.search(text), decision="clarify", probability=0.36, relevance=relevance)
    entry = knowledge.entry("room")
    said = Utterance("bot", entry.answer, "answer", (), (entry.id,), (entry.question,))
    reading = await in_context(Turn("c", text, (Utterance("user", entry.question), said)), alone, knowledge)
    assert (reading.why == "") == (relevance > RELEVANT_MIN)


async def test_what_does_something_is_begun_beside_what_was_said_on_no_guess(knowledge):
    text = "进度查询在哪儿看得到呀"
    guess = replace(await knowledge.search(text), decision="answer", probability=0.7)
    entry = knowledge.entry("invoice")
    said = Utterance("bot", entry.answer, "answer", (), (entry.id,), (entry.question,))
    turn = Turn("c", text, (Utterance("user", entry.question), said))
    assert await in_context(turn, guess, knowledge) == Reading(guess)
    read_again = await in_context(turn, guess, knowledge, guessed=True)
    assert read_again.why.startswith("context: ")
