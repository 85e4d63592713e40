"""A customer is answered in their own script and language, and what machines read stays as it is."""

from collections.abc import Callable
from typing import Any

import pytest

from bot import keys
from bot.dialogue.pipeline import Pipeline
from bot.dialogue.script import customer_language, speller
from bot.dialogue.types import Answer, Delta, Done, Turn, Utterance
from bot.language import TRADITIONAL, accepted_language, accepted_tag
from bot.profile import PROFILE


def user(*texts: str) -> tuple[Utterance, ...]:
    return tuple(Utterance("user", one) for one in texts)


@pytest.mark.parametrize(
    ("text", "before", "known", "tag"),
    [
        ("怎么申请退货", (), "zh", "zh"),
        ("怎麼申請退貨", (), "zh", "zh-Hant"),
        ("點樣退貨呀", (), "zh-HK", "zh-HK"),
        ("怎麼申請退貨", (), "zh-TW", "zh-TW"),
        ("你好", (), "zh-TW", "zh-TW"),
        ("你好", (), "zh", "zh"),
        ("好的", ("怎麼申請退貨",), "zh", "zh-Hant"),
        ("怎么退", ("怎麼申請退貨",), "zh", "zh"),
        ("2", ("怎麼申請退貨", "QL-2108"), "zh", "zh-Hant"),
        ("how do I return this?", (), "zh", "en"),
        ("hi there", (), "en-US", "en-US"),
        ("QL-2108", ("how do I return this?",), "zh", "en"),
        ("Apple Watch", (), "zh", "zh"),
        ("QL-2108", (), "zh", "zh"),
        ("怎么退 return", (), "en", "zh"),
        ("hello", ("怎么退",), "en", "en"),
        ("2", ("怎么退",), "en", "zh"),
        ("", (), "zh", "zh"),
    ],
)
def test_the_customers_language(text: str, before: tuple[str, ...], known: str, tag: str) -> None:
    assert customer_language(text, user(*before), known) == tag


@pytest.mark.parametrize(
    ("header", "tag"),
    [
        ("zh-TW,zh;q=0.9,en;q=0.8", "zh-TW"), ("zh-Hant-HK", "zh-Hant-HK"), ("zh-CN,zh-TW;q=0.5", "zh"),
        ("en-US,zh-TW;q=0.9", "en"), ("fr, zh-hk;q=0.1", "zh-hk"), ("", "zh"), (None, "zh"), ("zh;q=x", "zh"),
    ],
)  # fmt: skip
def test_the_readers_characters_from_what_a_browser_says(header: str | None, tag: str) -> None:
    assert accepted_tag(header) == tag
    assert accepted_language(header) == tag[:2]
    assert (speller(tag) is not None) == tag.lower().startswith(TRADITIONAL)


def test_what_machines_read_stays() -> None:
    spell = speller("zh-Hant")
    assert spell is not None
    text = (
        "请看 https://shop.example.com/帮助/发货?a=订单 和[发货说明](https://a.cn/发货)，输入 `发货 QL-2108后`，面条。"
    )
    said = (
        "請看 https://shop.example.com/帮助/发货?a=订单 和[發貨說明](https://a.cn/发货)，輸入 `发货 QL-2108后`，麵條。"
    )
    assert spell(text) == said
    assert spell(said) == said
    assert (
        spell("7 天后、30天后和半天后，不是天后宫，[三天后](/7天后)")
        == "7 天後、30天後和半天後，不是天后宮，[三天後](/7天后)"
    )
    assert speller("zh-HK")("这里面为什么") == "這裏面為什麼"  # type: ignore[misc]
    assert speller("zh-TW")("这里面为什么") == "這裡面為什麼"  # type: ignore[misc]
    assert speller("zh") is speller("en") is None


async def said(pipeline: Pipeline, turn: Turn) -> Answer:
    """The answer, where all deltas joined are its text."""
    events = [event async for event in pipeline.run(turn)]
    assert isinstance(events[-1], Done)
    assert "".join(one.text for one in events if isinstance(one, Delta)) == events[-1].answer.text
    return events[-1].answer


@pytest.fixture
def pipeline_with(talk: Any) -> Callable[..., Pipeline]:
    return lambda engine=None: Pipeline(talk.app[keys.KNOWLEDGE_BASE], talk.app[PROFILE], engine)


async def test_a_traditional_conversation_on_a_simplified_knowledge_base(
    pipeline_with: Callable[..., Pipeline], scripted: Any
) -> None:
    pipeline = pipeline_with(scripted("帐篷 HW-6021 可抗 6 级风，", "超过 6 级请收起。"))
    direct = await said(pipeline, Turn("c", "我想退貨"))
    assert (direct.decision, direct.text) == ("answer", "在「我的訂單」裡點**申請退貨**，審核通過後寄回。")
    hello = await said(pipeline, Turn("c", "您好，請問在嗎"))
    assert (hello.decision, "請問有什麼可以幫您" in hello.text) == ("chitchat", True)
    written = await said(pipeline, Turn("c", "帳篷能抗幾級風"))
    assert (written.decision, written.text) == ("generate", "帳篷 HW-6021 可抗 6 級風，超過 6 級請收起。")
    asked = await said(pipeline, Turn("c", "退貨錢"))
    assert asked.decision == "clarify"
    assert "您想問的是下面" in asked.text
    assert any("退貨" in one for one in asked.suggestions)
    history = (Utterance("user", "退貨錢"), asked.said)
    for reply in ("1", asked.suggestions[0]):
        chosen = await said(pipeline, Turn("c", reply, history))
        assert chosen.sources[0].faq_id == asked.sources[0].faq_id
        assert "货" not in chosen.text
    quoted = await said(pipeline_with(), Turn("c", "帳篷能抗幾級風"))
    assert "供您參考" in quoted.text
    assert "> 帳篷 HW-6021 可抗 6 級風" in quoted.text


async def test_the_same_answer_twice_is_a_failure_in_any_script(pipeline_with: Callable[..., Pipeline]) -> None:
    pipeline = pipeline_with()
    history: tuple[Utterance, ...] = ()
    for text in ("我想退貨", "退貨流程是什麼", "買的東西不想要了怎麼退"):
        answer = await said(pipeline, Turn("c", text, history))
        history = (*history, Utterance("user", text), answer.said)
    assert any("failed" in reason for reason in answer.reasons)


async def test_english_against_chinese_knowledge(pipeline_with: Callable[..., Pipeline], scripted: Any) -> None:
    engine = scripted("The tent can stand any wind.")
    pipeline = pipeline_with(engine)
    for text, decision, words in (
        ("hello there", "chitchat", "Hill Camping"),
        ("I want to talk to a human", "handoff", "Call 400-000-0001."),
        ("what is the weather in Paris", "refuse", "I answer questions about Hill Camping"),
    ):
        answer = await said(pipeline, Turn("c", text))
        assert (answer.decision, words in answer.text) == (decision, True), answer.text
    quoted = await said(pipeline, Turn("c", "how strong a wind can the tent HW-6021 take"))
    assert "any wind" not in quoted.text
    assert quoted.text.startswith(("This is what", "I am sorry")), quoted.text
