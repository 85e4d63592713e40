"""Dates, phone numbers, amounts, addresses and the company's own kinds of entities in customers' words."""

import re
import time
from datetime import datetime

import pytest

from bot.dialogue.dates import moments
from bot.dialogue.entities import TEXT_CHARACTERS_MAX, Pattern, entities
from bot.dialogue.extraction import Said, _on_its_day

NOW = datetime(2026, 11, 22, 10, 0)  # noqa: DTZ001 - a Sunday, in the customer's own time


@pytest.mark.parametrize(
    ("text", "value", "grain"),
    [
        ("后天下午", "2026-11-24 12:00", "part"),
        ("下周三", "2026-11-25 00:00", "day"),
        ("12月3号上午10点", "2026-12-03 10:00", "hour"),
        ("明天", "2026-11-23 00:00", "day"),
        ("大后天晚上8点半", "2026-11-25 20:30", "minute"),
        ("三天后", "2026-11-25 00:00", "day"),
        ("两个小时后", "2026-11-22 12:00", "hour"),
        ("周五", "2026-11-27 00:00", "day"),
        ("周日上午", "2026-11-22 09:00", "part"),
        ("下下周一", "2026-11-30 00:00", "day"),
        ("月底", "2026-11-30 00:00", "day"),
        ("下个月5号", "2026-12-05 00:00", "day"),
        ("5号来取", "2026-12-05 00:00", "day"),
        ("二十五号", "2026-11-25 00:00", "day"),
        ("1月2日", "2027-01-02 00:00", "day"),
        ("2026年12月3日", "2026-12-03 00:00", "day"),
        ("2027-01-05 15:30", "2027-01-05 15:30", "minute"),
        ("明天下午两点一刻", "2026-11-23 14:15", "minute"),
        ("今晚8点", "2026-11-22 20:00", "hour"),
        ("下午3点", "2026-11-22 15:00", "hour"),
        ("早上9点", "2026-11-23 09:00", "hour"),
        ("tomorrow at 3pm", "2026-11-23 15:00", "hour"),
        ("next Friday afternoon", "2026-11-27 12:00", "part"),
        ("Dec 3rd at 10:30 am", "2026-12-03 10:30", "minute"),
        ("in 3 days", "2026-11-25 00:00", "day"),
        ("saturday morning", "2026-11-28 09:00", "part"),
        ("the day after tomorrow", "2026-11-24 00:00", "day"),
    ],
)
def test_a_date_as_customers_write_it(text: str, value: str, grain: str) -> None:
    (found,) = moments(text, NOW)
    assert (found.value.strftime("%Y-%m-%d %H:%M"), found.grain) == (value, grain)


@pytest.mark.parametrize(
    "text",
    [
        "3号楼",
        "建国路8号",
        "2月30号",
        "24小时",
        "有点贵",
        "满99",
        "25点",
        "下周",
        "一点也不好",
        "may I ask",
        "the sun",
        "今年",
    ],
)
def test_what_is_no_date(text: str) -> None:
    assert moments(text, NOW) == []


def test_a_part_of_the_day_has_an_end_and_a_time_alone_says_so() -> None:
    (afternoon,) = moments("后天下午", NOW)
    assert afternoon.until is not None
    assert afternoon.until.hour == 18
    assert [m.day_given for m in moments("下午3点", NOW)] == [False]
    assert [m.value.day for m in moments("不是明天，是后天", NOW)] == [23, 24]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("地址改成浙江省嘉兴市南湖区中山东路100号3幢502室", [("address", "浙江省嘉兴市南湖区中山东路100号3幢502室")]),
        ("寄到上海市徐汇区漕溪北路88号，电话 138 0000 1111",
         [("address", "上海市徐汇区漕溪北路88号"), ("phone", "13800001111")]),
        ("收貨地址改成廣州市天河區體育西路12號", [("address", "广州市天河区体育西路12号")]),
        ("换到成都市高新区天府大道1号吧", [("address", "成都市高新区天府大道1号")]),
        ("后天下午送到杭州市西湖区文三路90号",
         [("time", "2026-11-24T12:00:00"), ("address", "杭州市西湖区文三路90号")]),
        ("座机 021-12345678", [("phone", "02112345678")]),
        ("一共 1,280.50 元", [("amount-of-money", 1280.5)]),
        ("退两件", [("number", "2")]),
        ("十歲", [("number", "10")]),
        ("孩子两岁，三个人去", [("number", "2"), ("number", "3")]),
        ("十二", [("number", "12")]),
        ("两三个", []),
        ("十全大补\n二", []),
        ("PPR-9087 要 3 个", [("code", "PPR-9087"), ("number", "3")]),
        ("北京市朝阳区", []),
        ("我住在小区里", []),
        ("运费谁出？能不能送货上门，不要放驿站", []),
    ],
)  # fmt: skip
def test_built_in_kinds(text: str, found: list[tuple[str, object]]) -> None:
    assert [(one["entity"], one["value"]) for one in entities(text, NOW)] == found


def test_the_companys_own_kinds_go_first_and_stand_for_something() -> None:
    patterns = (
        Pattern("order_number", re.compile(r"QS\d{11}", re.IGNORECASE)),
        Pattern("reason", re.compile("坏了|漏水"), {"坏了": "质量问题"}),
    )
    found = entities("ＱＳ２０２６０１０３００１ 坏了，漏水", NOW, patterns)
    assert [(one["entity"], one["value"]) for one in found] == [
        ("order_number", "QS20260103001"), ("reason", "质量问题"), ("reason", "漏水"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["1" * 50_000, "市" * 50_000, "省市区县路街号" * 5_000, "a1-" * 20_000, "周" * 50_000, "a@" * 20_000]
)
def test_no_message_takes_long(text: str) -> None:
    started = time.process_time()
    found = entities(text, NOW)
    assert time.process_time() - started < 5  # hundreds of times what it takes; without the cut it would be minutes
    assert all(one["end"] <= TEXT_CHARACTERS_MAX for one in found)


@pytest.mark.parametrize(
    ("said", "grain", "day_given", "value", "kept"),
    [
        ("改成周日", "day", True, "2026-11-29T00:00:00", "2026-11-29T10:00:00"),
        ("改成下午3点", "hour", False, "2026-11-22T15:00:00", "2026-11-28T15:00:00"),
        ("改成周日下午3点", "hour", True, "2026-11-29T15:00:00", "2026-11-29T15:00:00"),
    ],
)
def test_a_corrected_time_keeps_what_the_correction_does_not_say(said, grain, day_given, value, kept):
    info = {"grain": grain, "day_given": day_given}
    message = Said(said, ({"entity": "time", "value": value, "additional_info": info},))
    assert _on_its_day(value, "2026-11-28T10:00:00", message) == kept
    assert _on_its_day(value, None, message) == value
