"""Quiet hours, and the turn each night or week has: pure dates."""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from bot.learning.nights import Hours, next_turn, nights

SHANGHAI, BERLIN = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin")


def at(text: str, zone=SHANGHAI) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


@pytest.mark.parametrize("text", ["", "1-5", "25:00-05:00", "01:60-05:00", "01:00", "01:00-05:00-06:00", "night"])
def test_hours_that_are_none(text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Hours.parse(text)


@pytest.mark.parametrize(
    ("hours", "moment", "start", "end"),
    [
        ("01:00-05:00", "2026-11-22T20:00", "2026-11-23T01:00", "2026-11-23T05:00"),
        ("01:00-05:00", "2026-11-23T04:59", "2026-11-23T01:00", "2026-11-23T05:00"),
        ("01:00-05:00", "2026-11-23T05:00", "2026-11-24T01:00", "2026-11-24T05:00"),
        ("22:00 – 06:00", "2026-11-23T00:30", "2026-11-22T22:00", "2026-11-23T06:00"),
        ("22:00至06:00", "2026-11-23T12:00", "2026-11-23T22:00", "2026-11-24T06:00"),
        ("00:00-00:00", "2026-11-23T12:00", "2026-11-23T00:00", "2026-11-24T00:00"),
    ],
)
def test_the_night_that_lasts_or_comes(hours, moment, start, end):
    night, after = nights(Hours.parse(hours), SHANGHAI, at(moment))
    assert (night.start, night.end) == (at(start), at(end))
    assert after.start >= night.end


def test_the_clock_is_the_companys():
    moment = datetime(2026, 11, 22, 17, 30, tzinfo=UTC)  # 01:30 in Shanghai
    night, _ = nights(Hours.parse("01:00-05:00"), SHANGHAI, moment)
    assert night.start <= moment < night.end
    assert night.slot("night") == "2026-11-23"


def test_a_night_in_which_the_clocks_go_back_is_an_hour_longer():
    night, _ = nights(Hours.parse("01:00-05:00"), BERLIN, at("2026-10-25T00:10", BERLIN))
    assert (night.end.astimezone(UTC) - night.start.astimezone(UTC)).total_seconds() == 5 * 3600


@pytest.mark.parametrize(
    ("interval", "moment", "taken", "start"),
    [
        ("night", "2026-11-24T12:00", None, "2026-11-25T01:00"),
        ("night", "2026-11-25T02:00", "2026-11-24", "2026-11-25T01:00"),
        ("night", "2026-11-25T02:00", "2026-11-25", "2026-11-26T01:00"),
        ("night", "2026-11-25T02:00", "2026-11-20", "2026-11-25T01:00"),  # nights that went by are gone
        ("week", "2026-11-22T12:00", "2026-11-16", "2026-11-23T01:00"),
        ("week", "2026-11-23T02:00", "2026-11-23", "2026-11-30T01:00"),
        ("week", "2026-11-25T12:00", "2026-11-16", "2026-11-26T01:00"),  # missed on Monday, taken up on Thursday
        ("week", "2026-11-26T02:00", "2026-11-23", "2026-11-30T01:00"),
    ],
)
def test_whose_turn_it_is(interval, moment, taken, start):
    assert next_turn(Hours.parse("01:00-05:00"), SHANGHAI, interval, at(moment), taken).start == at(start)


def test_a_night_that_begins_on_sunday_is_mondays():
    night, _ = nights(Hours.parse("22:00-06:00"), SHANGHAI, at("2026-11-22T23:00"))
    assert night.slot("week") == "2026-11-23"
