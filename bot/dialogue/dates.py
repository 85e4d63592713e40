"""Points in time as customers write them, in Chinese and English, relative to a given now.

Scope: days (「后天」「下周三」「12月3号」「三天后」「月底」, ISO and slashed dates, `tomorrow`, `next Friday`) with a
time of day (「下午」「晚上8点半」「15:30」, `3pm`), or a time of day alone. Not: lunar dates, festivals, ranges,
repetitions.
dateparser 1.2 reads 4 of 9 such Chinese dates and drops the time of day of 「后天下午」.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Literal

Grain = Literal["minute", "hour", "part", "day"]

_NUMERALS = {character: value for value, character in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_NUMBER = r"(?:\d{1,4}|[零〇一二两三四五六七八九十]{1,3})"
_WEEKDAYS_ZH = {
    mark: day for day, marks in enumerate(("一1", "二2", "三3", "四4", "五5", "六6", "日天7")) for mark in marks
}
_WEEKDAYS_EN = {name: day for day, name in enumerate(("mon", "tue", "wed", "thu", "fri", "sat", "sun"))}
_MONTHS_EN = {
    name: month
    for month, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_DAYS_ZH = {
    "大前天": -3, "前天": -2, "昨天": -1, "今天": 0, "今日": 0, "今晚": 0, "今早": 0, "当天": 0, "明天": 1, "明日": 1,
    "明儿": 1, "明早": 1, "明晚": 1, "后天": 2, "大后天": 3,
}  # fmt: skip
_DAYS_EN = {"today": 0, "tonight": 0, "tomorrow": 1, "yesterday": -1, "day after tomorrow": 2}
# Part of the day: from hour, to hour, whether hours up to 12 are after noon.
_PARTS: dict[str, tuple[int, int, bool]] = {
    "凌晨": (0, 6, False), "清晨": (6, 9, False), "早上": (7, 10, False), "早晨": (7, 10, False),
    "今早": (7, 10, False), "明早": (7, 10, False), "上午": (9, 12, False), "中午": (11, 13, True),
    "下午": (12, 18, True), "傍晚": (17, 19, True), "晚上": (18, 22, True), "晚间": (18, 22, True),
    "夜里": (18, 22, True), "今晚": (18, 22, True), "明晚": (18, 22, True), "早": (7, 10, False), "晚": (18, 22, True),
    "morning": (9, 12, False), "noon": (11, 13, True), "afternoon": (12, 18, True), "evening": (18, 22, True),
    "tonight": (18, 22, True), "night": (18, 22, True),
}  # fmt: skip
_PLACE_AFTER = "(?!楼|院|线|店|仓|门|桌|铺|车|房|栋|库|柜|机|团)"


def _any(words: object) -> str:
    return "(?:" + "|".join(sorted(map(str, words), key=len, reverse=True)) + ")"  # type: ignore[call-overload]


_DAY_PATTERNS = {
    "iso": r"(?<!\d)(?P<iso_y>20\d\d)[-/.年](?P<iso_m>\d{1,2})[-/.月](?P<iso_d>\d{1,2})[日号]?(?!\d)",
    "month_day": rf"(?:(?P<md_next>明年|今年))?(?P<md_m>{_NUMBER})月(?P<md_d>{_NUMBER})[日号]?(?![\d月])",
    "month_word": rf"(?P<mw>这个?月|本月|下个?月)(?:(?P<mw_d>{_NUMBER})[日号]|(?P<mw_end>底|末)|(?P<mw_start>初))",
    "month_end": r"(?P<me>月底|月末)",
    "week_zh": r"(?P<wk_which>大?下+个?|这个?|本|上个?)?(?:周|星期|礼拜)(?P<wk_day>[一二三四五六日天1-7末])(?!期)",
    "word_zh": rf"(?P<word_zh>{_any(_DAYS_ZH)})",
    "after_zh": rf"(?P<af_n>{_NUMBER})(?:个)?(?P<af_u>天|日|周|星期|礼拜|小时|钟头)(?:以后|之后|后)",
    "day_alone": rf"(?<![\d路街弄巷道第栋幢])(?P<day_alone>\d{{1,2}}|[一二三]?十[一二三四五六七八九]?)号{_PLACE_AFTER}",
    "word_en": rf"\b(?:the )?(?P<word_en>{_any(_DAYS_EN)})\b",
    "week_en": rf"\b(?P<we_which>next |this |on )?(?P<we_day>{_any(_WEEKDAYS_EN)})(?:s|nes|rs|ur)?day\b",
    "month_en": rf"\b(?P<en_m>{_any(_MONTHS_EN)})[a-z]* (?P<en_d>\d{{1,2}})(?:st|nd|rd|th)?\b",
    "after_en": r"\bin (?P<ae_n>\d{1,2}) (?P<ae_u>day|week|hour)s?\b",
}
_TIME = (
    rf"(?P<part>{_any(p for p in _PARTS if not p.isascii())})?(?:的)?"
    rf"(?:(?P<colon_h>\d{{1,2}})[:：](?P<colon_m>\d\d)|(?P<h>{_NUMBER})[点點时](?!间|候)(?P<half>半)?(?P<quarter>[一三]刻)?"
    rf"(?P<m>[0-5]\d|{_NUMBER}(?=分))?分?)?"
)
_TIME_EN = (
    r"(?: ?(?:in the )?(?P<part_en>morning|noon|afternoon|evening|night))?"
    r"(?:,? ?(?:at )?(?P<en_h>\d{1,2})(?::(?P<en_min>\d\d))? ?(?P<ampm>am|pm)\b)?"
)
_WHOLE = re.compile(f"(?:{'|'.join(_DAY_PATTERNS.values())})[ 的,，]?(?:{_TIME}){_TIME_EN}", re.IGNORECASE)
_ALONE = re.compile(
    rf"(?<![\d:：])(?P<part>{_any(p for p in _PARTS if not p.isascii() and len(p) > 1)})?(?:"
    rf"(?P<colon_h>[01]?\d|2[0-3])[:：](?P<colon_m>[0-5]\d)(?![\d:：])"
    rf"|(?P<h>{_NUMBER})[点點](?!击|开|了|钱|儿|什|赞|评|名)(?P<half>半)?(?P<quarter>[一三]刻)?(?P<m>[0-5]\d(?=分)|{_NUMBER}(?=分))?分?"
    rf"|(?<=(?:上午|中午|下午|晚上|早上)))"
    r"|\b(?P<en_h>\d{1,2})(?::(?P<en_min>[0-5]\d))? ?(?P<ampm>am|pm)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time found at `start`:`end` of a text. `until` ends a part of a day (「下午」), else None.

    `grain` says how exact the words are; `day_given` is False where only a time of day was written.
    """

    start: int
    end: int
    value: datetime
    grain: Grain
    until: datetime | None = None
    day_given: bool = True


def moments(text: str, now: datetime) -> list[Moment]:
    """Every point in time in `text` (simplified characters, narrow digits), in order. Impossible dates are left out."""
    found: list[Moment] = []
    for pattern in (_WHOLE, _ALONE):
        for match in pattern.finditer(text):
            if match.start() == match.end() or any(match.start() < m.end and m.start < match.end() for m in found):
                continue
            moment = _moment(match, now)
            if moment is not None:
                found.append(moment)
    return sorted(found, key=lambda moment: moment.start)


def number(text: str) -> int | None:
    """A whole number below 10,000 in digits or Chinese numerals up to 99 (「十二」「三十」), None for anything else."""
    if text.isdecimal():
        return int(text)
    tens, ten, ones = text.partition("十")
    if not ten:
        return _NUMERALS.get(text)
    if (tens and tens not in _NUMERALS) or (ones and ones not in _NUMERALS):
        return None
    return _NUMERALS.get(tens, 1) * 10 + _NUMERALS.get(ones, 0)


def _moment(match: re.Match[str], now: datetime) -> Moment | None:
    groups = match.groupdict()
    shift = _hours_later(groups, now)
    if shift is not None:
        return Moment(*match.span(), shift, "hour")
    try:
        day = next((found for read in _DAYS if (found := read(groups, now.date())) is not None), None)
    except ValueError:
        return None
    clock = _clock(groups)
    # 「一点也不」 and 「两点意见」 are no hours.
    only_few = groups.get("h") in ("一", "两", "几") and clock is not None and clock[2] == "hour"
    if clock is None or (
        day is None and only_few and not groups.get("part") and match.string[match.end() :][:1] != "钟"
    ):
        return None
    start, until, grain = clock
    if day is None and grain == "day":
        return None
    value = datetime.combine(day or now.date(), start, now.tzinfo)
    if day is None and value < now - timedelta(minutes=1) and until is None:
        value += timedelta(days=1)
    end = datetime.combine(value.date(), until, now.tzinfo) if until else None
    return Moment(*match.span(), value, grain, end, day is not None)


def _clock(groups: dict[str, str | None]) -> tuple[time, time | None, Grain] | None:
    """The time of day, its end for a part of a day, and the grain; None where it is impossible."""
    part = (groups.get("part") or groups.get("part_en") or "").lower()
    word = (groups.get("word_zh") or groups.get("word_en") or "").lower()
    named = _PARTS.get(part) or _PARTS.get(word)
    hour_text = groups.get("colon_h") or groups.get("h") or groups.get("en_h")
    if hour_text is None:
        if named is None:
            return time(0), None, "day"
        return time(named[0]), time(named[1]), "part"
    hour = number(hour_text)
    minute = number(groups.get("colon_m") or groups.get("m") or groups.get("en_min") or "0")
    if groups.get("half"):
        minute = 30
    elif quarter := groups.get("quarter"):
        minute = 15 if quarter[0] == "一" else 45
    if hour is None or minute is None:
        return None
    after_noon = (groups.get("ampm") or "").lower() == "pm" or (named is not None and named[2])
    if after_noon and hour < 12 and not (part == "中午" and hour >= 10):
        hour += 12
    elif (groups.get("ampm") or "").lower() == "am" and hour == 12:
        hour = 0
    if hour > 23 or minute > 59:
        return None
    exact = minute or groups.get("colon_m") or groups.get("en_min")
    return time(hour, minute), None, "minute" if exact else "hour"


def _hours_later(groups: dict[str, str | None], now: datetime) -> datetime | None:
    count = number(groups.get("af_n") or groups.get("ae_n") or "")
    unit = groups.get("af_u") or groups.get("ae_u") or ""
    if count is None or unit.lower() not in ("小时", "钟头", "hour"):
        return None
    return (now + timedelta(hours=count)).replace(second=0, microsecond=0)


def _iso(groups: dict[str, str | None], today: date) -> date | None:  # noqa: ARG001 - all readers are called alike
    year, month, day = groups.get("iso_y"), groups.get("iso_m"), groups.get("iso_d")
    return date(int(year), int(month), int(day)) if year and month and day else None


def _month_day(groups: dict[str, str | None], today: date) -> date | None:
    english = groups.get("en_m")
    month = _MONTHS_EN[english.lower()] if english else number(groups.get("md_m") or "")
    day = number(groups.get("en_d") or groups.get("md_d") or "")
    if month is None or day is None:
        return None
    if groups.get("md_next"):
        return date(today.year + (groups["md_next"] == "明年"), month, day)
    this_year = date(today.year, month, day)
    # A day long gone is meant of next year: nobody books for last spring.
    return this_year if this_year >= today - timedelta(days=31) else date(today.year + 1, month, day)


def _month_word(groups: dict[str, str | None], today: date) -> date | None:
    word = groups.get("mw")
    if not word and not groups.get("me"):
        return None
    months = today.year * 12 + today.month - 1 + (1 if word and word.startswith("下") else 0)
    if day := groups.get("mw_d"):
        return date(months // 12, months % 12 + 1, number(day) or 0)
    if groups.get("mw_start"):
        return date(months // 12, months % 12 + 1, 1)
    return date((months + 1) // 12, (months + 1) % 12 + 1, 1) - timedelta(days=1)


def _weekday(groups: dict[str, str | None], today: date) -> date | None:
    if mark := groups.get("wk_day"):
        which = groups.get("wk_which") or ""
        weekday = 5 if mark == "末" else _WEEKDAYS_ZH[mark]
        weeks = which.count("下") + which.startswith("大") - which.startswith("上")
        day = today + timedelta(days=weekday - today.weekday() + 7 * weeks)
        return day + timedelta(days=7) if not which and day < today else day
    if name := groups.get("we_day"):
        ahead = (_WEEKDAYS_EN[name.lower()] - today.weekday()) % 7
        # “Next Friday” said on a Monday: the Friday of the week after, as most shops mean it.
        later = (groups.get("we_which") or "").lower().strip() == "next" and today.weekday() + ahead < 7
        return today + timedelta(days=ahead + (7 if later else 0))
    return None


def _relative(groups: dict[str, str | None], today: date) -> date | None:
    if word := groups.get("word_zh"):
        return today + timedelta(days=_DAYS_ZH[word])
    if word := groups.get("word_en"):
        return today + timedelta(days=_DAYS_EN[word.lower()])
    count = number(groups.get("af_n") or groups.get("ae_n") or "")
    unit = groups.get("af_u") or (groups.get("ae_u") or "").lower()
    if count is None or not unit:
        return None
    return today + timedelta(days=count * (7 if unit in ("周", "星期", "礼拜", "week") else 1))


def _day_alone(groups: dict[str, str | None], today: date) -> date | None:
    day = number(groups.get("day_alone") or "")
    if not day or day > 31:
        return None
    months = today.year * 12 + today.month - 1 + (day < today.day)
    return date(months // 12, months % 12 + 1, day)


_Reader = Callable[[dict[str, str | None], date], date | None]
_DAYS: tuple[_Reader, ...] = (_iso, _month_day, _month_word, _weekday, _relative, _day_alone)


def entities(text: str, now: datetime) -> Iterator[tuple[int, int, str, dict[str, Any]]]:
    """`moments` as Rasa's Duckling extractor writes them: span, ISO 8601 value, and `additional_info`."""
    for moment in moments(text, now):
        until = moment.until.isoformat() if moment.until else None
        yield moment.start, moment.end, moment.value.isoformat(), {
            "grain": moment.grain, "to": until, "day_given": moment.day_given,
        }  # fmt: skip
