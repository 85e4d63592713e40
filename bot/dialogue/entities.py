"""What a message's words alone show, as Rasa writes entities: the company's own kinds first, then the built-in ones.

Built in: `email`, `phone` (mainland mobile and landline), `time` (`bot.dialogue.dates`), `amount-of-money` (yuan),
`address` (Chinese, where sure), `code` (letters with digits), `number`.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bot.dialogue import dates
from knowledge.text import simplify

Entity = dict[str, Any]

TEXT_CHARACTERS_MAX = 500
_COUNTED = "个件台套份只箱盒位人名次天岁包瓶支双条块张间桌"
_NUMERALS = "[一二两三四五六七八九十]{1,3}"
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]++@[\w-]+(?:\.[\w-]+)+", re.ASCII)
_PHONE = re.compile(r"(?<![\dA-Za-z])(?:\+?86[- ]?)?(1[3-9]\d[- ]?\d{4}[- ]?\d{4}|0\d{2,3}-\d{7,8})(?!\d)")
_YUAN = r"(\d{1,3}(?:,\d{3})+(?:\.\d{1,2})?|\d{1,9}(?:\.\d{1,2})?)"
_MONEY = re.compile(rf"(?:[¥￥]\s?{_YUAN}|(?<![\d.,]){_YUAN}\s?(?:元|块钱?|人民币|rmb|yuan))", re.IGNORECASE)
_CODE = re.compile(r"(?<![A-Za-z0-9])(?=[A-Za-z0-9-]*[A-Za-z])(?=[A-Za-z0-9-]*\d)[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")
_NUMBER = re.compile(rf"\d+(?:\.\d+)?|{_NUMERALS}(?=[{_COUNTED}])|(?<!.){_NUMERALS}(?!.)", re.DOTALL)
# An address names a province, city or district and then a place in it, up to its house, floor and room.
_WIDE_PLACE = "[\u4e00-\u9fff]{2,9}?(?:省|自治区|自治州|市|州|盟|区|县|旗|镇|乡)"
_PLACE = (
    r"[\u4e00-\u9fffA-Za-z0-9]{1,16}?(?:路|街道|街|大道|巷|弄|胡同|村|社区|小区|花园|公寓|大厦|广场|园区|园|苑|城|里|庄|府|"
    r"中心|大楼|学校|大学)"
)
_DETAIL = r"[\u4e00-\u9fffA-Za-z0-9]{0,8}?(?:号楼|号院|号|栋|幢|座|单元|层|楼|室|户|弄|期|区)|\d{1,5}(?!\d)"
_ADDRESS = re.compile(
    rf"(?:{_WIDE_PLACE}){{1,4}}(?:{_PLACE}){{0,3}}(?:[\s-]?(?:{_DETAIL})){{0,6}}"
    rf"|(?:{_PLACE}){{1,2}}(?:[\s-]?(?:{_DETAIL})){{1,6}}"
)
_ADDRESS_LEAD = re.compile(
    r".*(?:地址|寄到|寄往|送到|发到|发往|收货地|换成|改成|改为|改到|搬到|住在|住|应该|就是|写|到|在|是|为)(?:是|为)?"
)
_SURE_PLACE = re.compile(r"路|街|道|巷|弄|胡同|村|小区|花园|公寓|大厦|广场|园|苑|号|栋|幢|座|单元|室|镇|乡")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A kind of entity of the company's own. `meanings` maps what is found, in lower case, to what it stands for."""

    entity: str
    expression: re.Pattern[str]
    meanings: Mapping[str, str] = field(default_factory=dict)
    role: str | None = None


def legible(text: str) -> str:
    """The text with simplified characters and narrow letters, each in its old place, so that positions stay the same.

    Longer than `TEXT_CHARACTERS_MAX`, it is cut: every pattern is run over all of it.
    """
    text = text[:TEXT_CHARACTERS_MAX]
    simple = simplify(text)
    if len(simple) == len(text):
        return simple
    return "".join(unicodedata.normalize("NFKC", c) if "！" <= c <= "～" else c for c in text)


def entities(text: str, now: datetime, patterns: Sequence[Pattern] = ()) -> list[Entity]:
    """All entities of the text in order, none over another: the company's go before the built-in ones."""
    plain = legible(text)
    found: list[Entity] = []
    for pattern in patterns:
        for match in pattern.expression.finditer(plain):
            said = match.group(0)
            _add(found, pattern.entity, match.span(), pattern.meanings.get(said.lower(), said), role=pattern.role)
    for name, span, value, more in _built_in(plain, now):
        _add(found, name, span, value, **more)
    return sorted(found, key=lambda entity: int(entity["start"]))


def _add(found: list[Entity], name: str, span: tuple[int, int], value: Any, **more: Any) -> None:
    start, end = span
    if start == end or any(start < e["end"] and e["start"] < end for e in found):
        return
    entity = {"entity": name, "value": value, "start": start, "end": end}
    found.append(entity | {key: one for key, one in more.items() if one is not None})


_Found = tuple[str, tuple[int, int], Any, dict[str, Any]]


def _built_in(plain: str, now: datetime) -> Iterator[_Found]:
    yield from (("email", m.span(), m.group(0), {}) for m in _EMAIL.finditer(plain))
    yield from (("phone", m.span(), re.sub(r"[ -](?=\d{4})", "", m.group(1)), {}) for m in _PHONE.finditer(plain))
    yield from _addresses(plain, dates.entities(plain, now))
    for match in _MONEY.finditer(plain):
        value = float((match.group(1) or match.group(2)).replace(",", ""))
        yield "amount-of-money", match.span(), value, {"additional_info": {"unit": "CNY"}}
    yield from (("code", m.span(), m.group(0), {}) for m in _CODE.finditer(plain))
    for match in _NUMBER.finditer(plain):
        text = match.group(0)
        counted = text if text[0].isdecimal() else dates.number(text)
        if counted is not None:  # 两三个 is no number
            yield "number", match.span(), str(counted), {}


def _addresses(plain: str, times: Iterable[tuple[int, int, str, dict[str, Any]]]) -> Iterator[_Found]:
    """Points in time, and the addresses between them: 「后天下午送到嘉兴市…」 is one of each."""
    start = 0
    for begin, end, value, info in times:
        yield "time", (begin, end), value, {"additional_info": info}
        yield from _addresses_in(plain, start, begin)
        start = end
    yield from _addresses_in(plain, start, len(plain))


def _addresses_in(plain: str, start: int, end: int) -> Iterator[_Found]:
    for match in _ADDRESS.finditer(plain, start, end):
        text = match.group(0)
        lead = _ADDRESS_LEAD.match(text)
        begin = match.start() + (lead.end() if lead and lead.end() < len(text) - 3 else 0)
        text = plain[begin : match.end()]
        if len(text) >= 6 and _SURE_PLACE.search(text) and (re.search(r"\d", text) or len(text) >= 8):
            yield "address", (begin, match.end()), text, {}
