"""Numbers and dates of spreadsheet cells as the sheet shows them."""

import datetime as dt
import re
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import lru_cache

# ISO/IEC 29500-1, 18.8.31: sections for positive, negative, zero and text; [..] are colours, conditions and locales.
_BRACKETS = re.compile(r"\[(?:\$([^\-\]]*)(?:-[^\]]*)?|[^\]]*)\]")
_HIDDEN = re.compile(r"_.|\*.")
_QUOTED = re.compile(r'"([^"]*)"|\\(.)')
_DIGITS = re.compile(r"[#0?][#0?,]*(?:\.[#0?]+)?|\.[0?#]+")
_DATE = re.compile(r"y+|m+|d+|h+|s+(?:\.0+)?|AM/PM|上午/下午|a{3,4}", re.IGNORECASE)
_ELAPSED = re.compile(r"\[[hms]+\]", re.IGNORECASE)


def shown(value: object, number_format: str | None) -> str:
    """A cell's value as its sheet shows it: 0.15 under 0% is 15%, 1234.5 under #,##0.00 is 1,234.50; dates as in their
    format, without one as 2024-05-01. A format that is not understood shows the plain value."""
    number_format = number_format or "General"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, dt.timedelta):
        hours, rest = divmod(int(value.total_seconds()), 3600)
        return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return _date(value, number_format)
    if isinstance(value, int | float):
        return _number(value, number_format)
    return str(value)


def is_date(number_format: str) -> bool:
    """Whether a format shows a date or a time."""
    bare = _QUOTED.sub("", _BRACKETS.sub("", number_format.split(";", maxsplit=1)[0]))
    return bool(_ELAPSED.search(number_format)) or bool(
        re.search(r"[ymdhs]", bare, re.IGNORECASE) and "General" not in bare
    )


def _plain(value: float) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value) if isinstance(value, int) else f"{value:.11g}"


def _number(value: float, number_format: str) -> str:
    sections = number_format.split(";")
    section = sections[0]
    if value < 0 and len(sections) > 1 and sections[1].strip():
        section, value = sections[1], -value
    elif value == 0 and len(sections) > 2:
        section = sections[2]
    literal = _literals(section)
    if literal is None:
        return _plain(value)
    before, pattern, after = literal
    percent = "%" in before + after
    try:
        amount = Decimal(repr(value)) * (100 if percent else 1)
        # A comma behind the digits divides by a thousand.
        while pattern.endswith(","):
            pattern, amount = pattern[:-1], amount / 1000
        whole, _, decimals = pattern.partition(".")
        amount = amount.quantize(Decimal(1).scaleb(-len(decimals)), ROUND_HALF_UP)
    except (InvalidOperation, ValueError):
        return _plain(value)
    text = f"{abs(amount):{',' if ',' in whole else ''}f}"
    integer, _, fraction = text.partition(".")
    integer = integer.rjust(whole.replace(",", "").count("0"), "0")
    kept = len(fraction) - sum(1 for _ in _trailing(fraction, decimals))
    fraction = fraction[:kept]
    sign = "-" if amount < 0 else ""
    return f"{sign}{before}{integer}{'.' + fraction if fraction else ''}{after}".strip()


def _trailing(fraction: str, decimals: str) -> list[str]:
    dropped: list[str] = []
    for digit, mark in zip(reversed(fraction), reversed(decimals), strict=False):
        if digit != "0" or mark == "0":
            break
        dropped.append(digit)
    return dropped


@lru_cache(maxsize=1024)
def _literals(section: str) -> tuple[str, str, str] | None:
    """(what stands before the digits, their pattern, what stands behind); None where the format is no simple one."""
    bare = _HIDDEN.sub("", _BRACKETS.sub(lambda found: found.group(1) or "", section))
    if "General" in bare or "@" in bare or "E+" in bare.upper() or "/" in _QUOTED.sub("", bare):
        return None
    # Quoted characters are moved out of the way of the pattern's own.
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found.group(1) if found.group(1) is not None else found.group(2))
        return chr(0xE000 + len(kept) - 1)

    masked = _QUOTED.sub(keep, bare)
    digits = _DIGITS.search(masked)
    if digits is None or _DIGITS.search(masked[digits.end() :]) or len(kept) > 100:
        return None

    def restore(part: str) -> str:
        return "".join(kept[ord(c) - 0xE000] if 0xE000 <= ord(c) < 0xE000 + len(kept) else c for c in part)

    return restore(masked[: digits.start()]), digits.group(), restore(masked[digits.end() :])


def _date(value: dt.datetime | dt.date | dt.time, number_format: str) -> str:
    section = _QUOTED.sub(
        lambda found: found.group(1) or found.group(2) or "", _BRACKETS.sub("", number_format.split(";", maxsplit=1)[0])
    )
    if number_format == "General" or not _DATE.search(section):
        return _iso(value)
    if section.lower() == "mm-dd-yy":
        section = "yyyy/m/d"  # format 14 is the short date of the reader's country
    half = bool(re.search(r"AM/PM|上午/下午", section, re.IGNORECASE))
    found: list[str] = []
    at, hours = 0, False
    for mark in _DATE.finditer(section):
        found.append(section[at : mark.start()])
        at = mark.end()
        code = mark.group().lower()
        following = section[at : at + 3].lower().lstrip(":分")
        minutes = code.startswith("m") and len(code) <= 2 and (hours or following.startswith("s"))
        found.append(_part(value, code, minutes=minutes, half=half))
        hours = code.startswith("h")
    return "".join([*found, section[at:]]).replace("@", "").strip() or _iso(value)


def _part(value: dt.datetime | dt.date | dt.time, code: str, *, minutes: bool, half: bool) -> str:
    moment = _moment(value)
    wide = len(code) >= 2
    if code.startswith("y"):
        return f"{moment.year % 100:02d}" if len(code) <= 2 else str(moment.year)
    if code.startswith("m") and not minutes:
        name = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][moment.month - 1]
        return name if len(code) >= 3 else f"{moment.month:02d}" if wide else str(moment.month)
    if code.startswith("d"):
        name = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][moment.weekday()]
        return name if len(code) >= 3 else f"{moment.day:02d}" if wide else str(moment.day)
    if code.startswith("aa"):
        return ("周" if len(code) == 3 else "星期") + "一二三四五六日"[moment.weekday()]
    if code in ("am/pm", "上午/下午"):
        return (("上午", "下午") if code == "上午/下午" else ("AM", "PM"))[moment.hour >= 12]
    number = moment.hour if code.startswith("h") else moment.minute if code.startswith("m") else moment.second
    if code.startswith("h") and half:
        number = number % 12 or 12
    return f"{number:02d}" if wide else str(number)


def _moment(value: dt.datetime | dt.date | dt.time) -> dt.datetime:
    if isinstance(value, dt.datetime):
        return value
    if isinstance(value, dt.date):
        return dt.datetime.combine(value, dt.time())
    return dt.datetime.combine(dt.date(1900, 1, 1), value)


def _iso(value: dt.datetime | dt.date | dt.time) -> str:
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date().isoformat()
    return str(value)
