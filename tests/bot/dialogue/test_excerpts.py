"""Of a passage what is asked about."""

import pytest

from bot.dialogue.excerpts import excerpts, from_part, parts
from bot.dialogue.types import Source
from knowledge.types import Encoder

SHIPPING = """江浙沪一般 1 到 2 天。乡镇在此基础上再加 1 天。

没有电梯的，4 楼起每层收 5 元！大件不放驿站。其中露营车要预约。"""
STEPS = """退货这样办：
1. 提交申请。写明原因。
2. 审核后寄回

退款 3 天内到账。"""
TABLE = "运费表\n\n| 地区 | 运费 |\n| --- | --- |\n| 西藏 | 20 元 |\n\n满 199 元包邮。"


def cut(text: str) -> list[str]:
    return [text[start:end] for start, end in parts(text)]


def excerpt(text: str, begins: str) -> str:
    own = parts(text)
    return from_part(text, own, next(at for at, (start, _) in enumerate(own) if text[start:].startswith(begins)))


def test_a_text_is_cut_into_sentences_and_steps_and_tables_stay_together() -> None:
    assert cut(SHIPPING)[1:3] == ["乡镇在此基础上再加 1 天。", "没有电梯的，4 楼起每层收 5 元！"]
    assert cut(STEPS) == [STEPS.split("\n\n", maxsplit=1)[0], "退款 3 天内到账。"]
    assert cut(TABLE) == ["运费表", TABLE.split("\n\n")[1], "满 199 元包邮。"]
    assert cut("说明书见 3.2 节，共 1.5 米") == ["说明书见 3.2 节，共 1.5 米"]
    assert cut("It takes 1.5 days. Call us.\nOr write") == ["It takes 1.5 days.", "Call us.", "Or write"]
    assert cut(" \n。\n") == ["。"]
    assert cut("") == []


@pytest.mark.parametrize(
    ("begins", "expected"),
    [
        ("江浙沪", "江浙沪一般 1 到 2 天。乡镇在此基础上再加 1 天。"),
        (
            "乡镇",
            "江浙沪一般 1 到 2 天。乡镇在此基础上再加 1 天。",
        ),  # leans on what comes before it
        ("没有电梯", "没有电梯的，4 楼起每层收 5 元！大件不放驿站。"),
        ("其中", "大件不放驿站。其中露营车要预约。"),
    ],
)
def test_a_sentence_comes_with_what_it_leans_on_and_what_may_limit_it(begins: str, expected: str) -> None:
    assert excerpt(SHIPPING, begins) == expected


async def test_the_source_that_has_the_nearest_sentence_comes_first_and_far_ones_are_left_out(
    shared_encoder: Encoder,
) -> None:
    async def alike(query: str, texts, kind) -> list[float]:
        return [float(one) for one in shared_encoder.encode(texts, kind) @ shared_encoder.encode([query], "query")[0]]

    sources = (
        Source("保修", "整机保修两年。人为损坏不在保修范围。", 0.9, document_id="d"),
        Source("配送", SHIPPING, 0.89, document_id="d"),
    )
    found = await excerpts("住六楼没电梯，送上来每层加多少钱", sources, alike)
    assert [one.title for one in found] == ["配送"]
    assert found[0].quote == "没有电梯的，4 楼起每层收 5 元！大件不放驿站。"
    assert found[0].document_id == "d"


async def test_a_source_without_a_sentence_stays_as_it_is() -> None:
    async def alike(query: str, texts, kind) -> list[float]:
        return [0.5 for _ in texts]

    (only,) = await excerpts("多少钱", (Source("价目", "……", 0.9),), alike)
    assert only.quote == "……"


@pytest.mark.parametrize(
    ("question", "begins"), [("质保几年", "种植体质保 10 年"), ("怎样质保才有效", "每年至少复查一次")]
)
async def test_asked_how_long_the_sentence_that_says_it_goes_before_one_that_is_nearer(
    question: str, begins: str
) -> None:
    async def alike(query: str, texts, kind) -> list[float]:
        return [0.9 if one.startswith("每年") else 0.8 for one in texts]

    text = "种植体质保 10 年，牙冠质保 5 年。每年至少复查一次的，质保才有效。"
    (only,) = await excerpts(question, (Source("质保", text, 0.9),), alike)
    assert only.quote.startswith(begins)
