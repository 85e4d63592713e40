"""The hard facts of a text in a form that can be compared: figures with units, addresses, codes, foreign words."""

import re
import unicodedata

from knowledge.text import simplify

_DIGITS = {
    name: value
    for value, names in enumerate(("零〇", "一", "二两", "三", "四", "五", "六", "七", "八", "九"))
    for name in names
}
_SCALES = {"十": 10, "百": 100, "千": 1000}
_TIME_UNITS = (
    (r"(?:个工作日|working ?days?|business ?days?)", "工作日"),
    (r"(?:钟头|hours?|hrs?)", "小时"),
    (r"(?:minutes?|mins?)", "分钟"),
    (r"(?:星期|礼拜|weeks?)", "周"),
    (r"(?:个月|months?)", "月"),
    (r"(?:years?)", "年"),
    (r"(?:[日号]|days?)", "天"),
    (r"(?:块钱|块|圆|rmb|cny|yuan|人民币)", "元"),
)
_UNIT = "工作日|小时|分钟|[天元周月年折倍件次个张期级份秒克升米吨瓦角分点岁人位]"
_COUNTED = (
    "工作日|小时|分钟|[天元周月年折倍期岁]"  # a Chinese numeral is a figure before these; 「一个」「一起」 are words
)
_NUMERAL = "[零〇一二两三四五六七八九十百千]+[万亿]?"
_CHINESE = re.compile(f"(?<=百分之){_NUMERAL}|{_NUMERAL}(?=(?:[至到~-]{_NUMERAL})?(?:{_COUNTED}))")
_ADDRESS = re.compile(
    r"(?:https?://|www\.)[^\s\u3000-\u303f\u4e00-\u9fff\uff00-\uffef<>\"')]+"
    r"|[a-z0-9._%+-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)+"
    r"|[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}(?:/[a-z0-9./?=&%#_~-]*)?"
)
_CODE = re.compile(r"[a-z0-9]+(?:[-_/.][a-z0-9]+)*")
_FIGURE = re.compile(rf"(\d+(?:[.:/-]\d+)*[万亿千]?%?)\s*({_UNIT})?")


def folded(text: str) -> str:
    """Simplified, NFKC, lower case, numerals as digits, units and ranges in one spelling: the form that is compared."""
    plain = simplify(text).casefold()
    plain = "".join(c for c in plain if unicodedata.category(c) != "Cf")
    plain = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", plain)
    plain = re.sub("[‐-―−]", "-", plain)
    for spelling, unit in _TIME_UNITS:
        plain = re.sub(rf"(?<=[\d零〇一二两三四五六七八九十百千万半])\s*{spelling}(?![a-z])", unit, plain)
    plain = _CHINESE.sub(lambda m: _value(m.group(0)), plain)
    plain = re.sub(r"百分之(\d+(?:\.\d+)?)", r"\1%", plain)
    plain = re.sub(rf"(\d)\s*(?:{_UNIT})?\s*[至到~]\s*(?=\d)", r"\1-", plain)
    return re.sub(r"(?<=\d)\s+(?=[a-z%])", "", plain)


def addresses(text: str) -> frozenset[str]:
    """Web and mail addresses of a folded text."""
    return frozenset(m.group(0).rstrip(".,;:!?/") for m in _ADDRESS.finditer(text))


def codes(text: str) -> frozenset[str]:
    """Words of letters and digits mixed, such as model and order numbers, of a folded text."""
    words = (m.group(0) for m in _CODE.finditer(_ADDRESS.sub(" ", text)))
    return frozenset(w for w in words if _is_code(w))


def figures(text: str) -> frozenset[tuple[str, str]]:
    """(number, unit) pairs of a folded text; unit "" where none follows. A range is one number: ("3-5", "天")."""
    plain = _ADDRESS.sub(" ", text)
    plain = _CODE.sub(lambda m: " " if _is_code(m.group(0)) else m.group(0), plain)
    return frozenset((m.group(1), m.group(2) or "") for m in _FIGURE.finditer(plain))


def latin_words(text: str) -> frozenset[str]:
    """Words of two or more Latin letters of a folded text."""
    return frozenset(re.findall("[a-z]{2,}", _ADDRESS.sub(" ", text)))


def _is_code(word: str) -> bool:
    return any(c.isdigit() for c in word) and any(c.isalpha() for c in word)


def _value(numeral: str) -> str:
    """A Chinese numeral in digits: 十五 → 15, 两百 → 200, 二〇二六 → 2026, 一万 → 1万."""
    scale = ""
    if numeral[-1] in "万亿":
        numeral, scale = numeral[:-1], numeral[-1]
    if not any(c in _SCALES for c in numeral):
        return "".join(str(_DIGITS[c]) for c in numeral) + scale
    total, digit = 0, 0
    for c in numeral:
        if c in _DIGITS:
            digit = _DIGITS[c]
        else:
            total, digit = total + (digit or 1) * _SCALES[c], 0
    return str(total + digit) + scale
