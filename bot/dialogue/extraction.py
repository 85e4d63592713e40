"""From a message to slots: what was said (intent, entities, a button's payload), and what of it a form's slots take.

Source of the mappings' meaning: Rasa 3.6's documentation, "Slot Mappings". Two differences, both on the safe side:
`from_text` and `from_intent` fill a slot of a form only while it is asked for; of several values for one slot the last
counts (people correct themselves from left to right), unless it is a list.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bot.dialogue.domain import REQUESTED_SLOT, Domain, Form
from bot.dialogue.entities import Entity, entities, legible
from bot.dialogue.smalltalk import normalised, small_talk
from bot.dialogue.tracker import payload_of, set_in_loop
from knowledge.text import simplify

_PAYLOAD = re.compile(r"/([A-Za-z_][\w.-]*)(?:@\d\.\d+)?\s*(\{.*\})?", re.DOTALL)
_YES = re.compile(
    "(?:是的?|是这样|就是这样|就这样|对的?|对对|没错|没有错|正确|嗯+|好的?|好吧|行|可以|没问题|没有问题|确认|确定|同意|要|要的|需要|"
    "yes|yeah|yep|ye|sure|ok|okay|correct|right|thatsright|thatscorrect|confirm|confirmed|please|yesplease|goahead)"
    "[的了呀啊吧呢哦嘛~]*"
)
_NO = re.compile(
    "(?:不|不是的?|不要|不用|不需要|不对|不行|不可以|不确认|不确定|不同意|不正确|不好|否|没有|别|错了|先不|"
    "no|nope|nah|not|wrong|incorrect|notcorrect|nothanks|nothankyou|dont|donot)[的了呀啊吧呢哦嘛~]*"
)
_WRONG = "(?:说|写|填|打|输|弄|发|选|给)?错了?|不对|不是这个|有误|有问题|wrong|incorrect"
_TURNED = (
    "改成|改为|改到|换成|换为|换到|变成|应该是|应为|就是|应是|才是|should be|to be|changed? (?:it )?to|is actually"
)
_BECOMES = f"(?:{_TURNED}|是|为|:|is|to)"
_CORRECTED = re.compile(
    r"^(?:啊|哦|噢|等等|等一下|抱歉|不好意思|sorry|oh|wait|[,，。!！ ])*"
    r"(?:(?:不对|不是|错了|我?(?:说|写|填|打|弄|搞|选)错了?|更正|no|actually|correction)[的了吧啊]?[,，。!！;；:： ]*"
    rf"(?:应该|我要|我是说|i mean(?:t)?)?\s*{_BECOMES}?|(?:帮我|请|麻烦)?(?:{_TURNED}))"
    r"\s*(?P<value>.+)$",
    re.IGNORECASE | re.DOTALL,
)
_CHANGE = "(?:改一?下|改改|换一?下|重新?填|重填|修改|更正|要改|想改|改|换|change|correct|update)"
# How a message begins that wants something done: 「我要退货」 is no reason for a return.
WISHES = ("我要", "我想", "帮我", "帮忙", "给我", "麻烦", "请", "i want", "i would like", "please")
_TIDY = " ,，。.!！;；:：\n\t"


@dataclass(frozen=True, slots=True)
class Said:
    """A message as read. `from_payload` where it was a button's `/intent{…}`."""

    text: str
    entities: tuple[Entity, ...] = ()
    intent: str | None = None
    confidence: float = 0.0
    from_payload: bool = False

    def parsed(self, language: str) -> dict[str, Any]:
        """The tracker's `latest_message`."""
        intent = {"name": self.intent, "confidence": self.confidence}
        return {
            "text": self.text, "intent": intent, "intent_ranking": [intent] if self.intent else [],
            "entities": [dict(one) for one in self.entities], "metadata": {"language": language},
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """What a form takes from a message: values by slot, and slots that were said to be wrong.

    `sure` is False where the whole text was taken for the slot that is asked for, whatever it says.
    """

    slots: Mapping[str, Any] = field(default_factory=dict)
    cleared: tuple[str, ...] = ()
    sure: bool = True

    def __bool__(self) -> bool:
        return bool(self.slots or self.cleared)


def read(
    text: str,
    domain: Domain,
    now: datetime,
    events: Sequence[Mapping[str, Any]] = (),
    intent: tuple[str, float] = ("", 0.0),
) -> Said:
    """What a message says. `intent` is what the caller took it for; else a button's, an example's, or yes or no."""
    payload = text if text.startswith("/") else payload_of([dict(e) for e in events], text)
    if payload and (said := _pressed(payload, text)):
        return said
    spoken = payload or text
    name, confidence = intent
    if not name:
        name, confidence = domain.intent_of(spoken) or yes_or_no(spoken) or small_talk(spoken) or "", 1.0
    return Said(spoken, tuple(entities(spoken, now, domain.patterns)), name or None, confidence if name else 0.0)


def yes_or_no(text: str) -> str | None:
    """`affirm` or `deny` where the whole message is nothing else."""
    plain = normalised(simplify(text)) if len(text) <= 40 else ""
    return "affirm" if _YES.fullmatch(plain) else "deny" if _NO.fullmatch(plain) else None


def find(
    domain: Domain,
    form: Form,
    said: Said,
    slots: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]],
    *,
    active: bool,
) -> Found:
    """What `form` takes from the message; `active` is False where the message is what begins it."""
    if said.intent in form.ignored_intents:
        return Found()
    requested = slots.get(REQUESTED_SLOT) if active else None
    values: dict[str, Any] = {}
    for slot in dict.fromkeys((*form.required_slots, *([requested] if requested else []))):
        value = _value(domain, form, slot, requested, said, active=active)
        if value is not None:
            values[slot] = _on_its_day(value, slots.get(slot), said)
    if not active or not requested:
        return Found(values)
    corrected = _correction(domain, form, said, slots, events, values)
    if corrected is not None:
        return corrected
    if values and not _also_text(said, values, requested):
        return Found(values)
    if requested not in values and _takes_text(domain, form, requested, said):
        return Found({**values, requested: said.text.strip()}, sure=bool(values))
    return Found(values)


def in_words(text: str, domain: Domain) -> str:
    """The text with words of the domain's in place of what its expressions find: 「QS20260103001 到哪了」 asks the same
    for every order, and an order number is no model's number. A message of nothing else becomes a question of its own.
    """
    plain, alone = legible(text), ""
    for pattern in domain.patterns:
        words = domain.words.get(pattern.entity)
        if words is None:
            continue
        for match in reversed(list(pattern.expression.finditer(plain))):
            alone = alone or words.alone
            text = f"{text[: match.start()]} {words.within} {text[match.end() :]}"
            plain = f"{plain[: match.start()]} {words.within} {plain[match.end() :]}"
    if alone and not _FILLERS.sub("", normalised(_without(plain, [w.within for w in domain.words.values()]))):
        return alone
    return text


def wish(said: Said, domain: Domain) -> str:
    """The words around a message's entities, the clause that begins like a wish where there is one; "" where the
    message has no entities.
    """
    text = said.text
    for one in sorted(said.entities, key=lambda e: -int(e["start"])):
        words = domain.words.get(one["entity"])
        text = f"{text[: one['start']]} {words.within if words else ''} {text[one['end'] :]}"
    clauses = [match.group(0).strip(_TIDY + "?？!！") for match in re.finditer(_CLAUSE, text)]
    wished = next((clause for clause in clauses if clause.lower().startswith(WISHES)), text.strip(_TIDY))
    return wished if said.entities else ""


def _without(text: str, words: Iterable[str]) -> str:
    for word in words:
        text = text.replace(word, "")
    return text


def question_beside(said: Said) -> str:
    """The sentences of a message that ask something and hold none of its entities; "" where there are none."""
    parts: list[str] = []
    for match in re.finditer(_CLAUSE, said.text):
        start, end = match.span()
        if _asks(match.group(0)) and not any(e["start"] < end and start < e["end"] for e in said.entities):
            parts.append(match.group(0).strip("，, "))
    return "".join(parts)


def wish_and_question(text: str) -> tuple[str, str]:
    """The clause of a message that wishes for something and the one that asks, 「我想约试听，停车方便吗」.
    Empty where there is not one of each.
    """
    found = [match.group(0).strip(_TIDY) for match in re.finditer(_CLAUSE, text[:500])]
    asked = [one for one in found if _asks(one)]
    wished = [one for one in found if one.lower().startswith(WISHES) and one not in asked]
    return (wished[0], asked[0]) if len(wished) == len(asked) == 1 else ("", "")


def question_within(said: Said) -> bool:
    """Whether a clause that holds an entity asks something about it: 「周末发货吗」, not 「周末可以吗」."""
    for match in re.finditer(_CLAUSE, said.text):
        start, end = match.span()
        inside = [e for e in said.entities if e["start"] < end and start < e["end"]]
        rest = match.group(0)
        for one in sorted(inside, key=lambda e: -int(e["start"])):
            rest = rest[: max(one["start"] - start, 0)] + rest[one["end"] - start :]
        if inside and _asks(rest):
            return True
    return False


def _asks(clause: str) -> bool:
    """Whether more is asked than 「可以吗」."""
    return len(normalised(_POLITE.sub("", simplify(clause)))) >= 3 and is_question(clause)


_CLAUSE = r"[^。！!？?\n；;，,]+[。！!？?\n；;，,]*"
_FILLERS = re.compile(
    "那个?|这个?|还有|再|帮我|帮忙|请|麻烦|查一?下?|看看|看一?下?|一下|呢|吧|呀|啊|单号|订单号?|是|和|whatabout|and|check|order|please"
)
_POLITE = re.compile(
    r"(?:可以|行|好|方便|能|成|对)(?:不(?:可以|行|好|方便|能|成|对)?|吗|么)|\b(?:is|ok|okay|fine|possible|good|please)\b"
)
_QUESTION = re.compile(
    r"[?？]\s*$|[吗么呢嘛]\W*$|(?:怎么|怎样|如何|多少|多久|多长|几天|几点|几个|什么|啥|谁|哪|为何|为啥|能不能|可不可以|可以.{0,8}不|是不是|"
    r"有没有|会不会|要不要|行不行|好不好|能否|可否|算谁)|^(?:what|how|when|where|who|why|which|can|could|do|does|is|are|will|would|"
    r"should|may)\b",
    re.IGNORECASE,
)


def is_question(text: str) -> bool:
    """Whether the words ask something: a free text for a slot seldom does."""
    return _QUESTION.search(simplify(text[:500]).strip()) is not None


def _pressed(payload: str, text: str) -> Said | None:
    match = _PAYLOAD.fullmatch(payload.strip())
    if match is None:
        return None
    try:
        given = json.loads(match.group(2) or "{}")
    except ValueError:
        return None
    if not isinstance(given, dict):
        return None
    found = tuple({"entity": str(key), "value": one, "start": 0, "end": len(text)} for key, one in given.items())
    return Said(payload, found, match.group(1), 1.0, from_payload=True)


def _value(domain: Domain, form: Form, slot: str, requested: str | None, said: Said, *, active: bool) -> Any:
    """What the first mapping that fits gives, except for the whole text; None where none does."""
    if said.from_payload and slot == requested:
        own = [one["value"] for one in said.entities if one["entity"] == slot]
        if own:
            return own[-1]
    for mapping in domain.mappings.get(slot, ()):
        if not _applies(mapping, form, requested, said):
            continue
        kind = mapping["type"]
        if kind == "from_entity":
            found = _entity_values(mapping, said)
            if found and (slot == requested or _only_for(domain, form, slot, mapping)):
                return found if slot in domain.list_slots else found[-1]
            continue
        in_turn = (kind == "from_intent" and slot == requested) or (kind == "from_trigger_intent" and not active)
        if in_turn and said.intent and said.intent in _listed(mapping.get("intent")):
            return mapping.get("value")
    return None


def _on_its_day(value: Any, earlier: Any, said: Said) -> Any:
    """A corrected point in time keeps what is not said anew: 「改成下午3点」 its day, 「改成周日」 its time."""
    mine = next((one for one in said.entities if one["entity"] == "time" and one["value"] == value), None)
    info = (mine.get("additional_info") or {}) if mine else {}
    day_alone = info.get("grain") == "day"
    if not info or (info.get("day_given", True) and not day_alone) or not isinstance(earlier, str):
        return value
    try:
        new, old = datetime.fromisoformat(str(value)), datetime.fromisoformat(earlier)
    except ValueError:
        return value
    if day_alone:
        return new.replace(hour=old.hour, minute=old.minute, second=old.second).isoformat()
    return new.replace(year=old.year, month=old.month, day=old.day).isoformat()


def _applies(mapping: Mapping[str, Any], form: Form, requested: str | None, said: Said) -> bool:
    intents, refused = _listed(mapping.get("intent")), _listed(mapping.get("not_intent"))
    if said.intent and said.intent in refused:
        return False
    # Without a classifier of intents most messages have none: an entity is then taken as the mapping's intent would.
    if intents and said.intent not in (*intents, None) and said.intent in ("affirm", "deny"):
        return False
    if mapping["type"] == "from_text" and intents and said.intent not in intents:
        return False
    conditions = mapping.get("conditions") or []
    return not conditions or any(_holds(one, form, requested) for one in conditions)


def _holds(condition: Mapping[str, Any], form: Form, requested: str | None) -> bool:
    loop = condition.get("active_loop", form.name)
    wanted = condition.get(REQUESTED_SLOT, requested)
    return loop == form.name and wanted in (requested, None)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _entity_values(mapping: Mapping[str, Any], said: Said) -> list[Any]:
    return [
        one["value"]
        for one in said.entities
        if one["entity"] == mapping.get("entity")
        and one.get("role") == mapping.get("role")
        and one.get("group") == mapping.get("group")
    ]


def _only_for(domain: Domain, form: Form, slot: str, mapping: Mapping[str, Any]) -> bool:
    """Whether no other slot of the form takes the same entity: then it is filled without being asked for."""
    key = tuple(mapping.get(part) for part in ("entity", "role", "group"))
    return not any(
        one["type"] == "from_entity" and tuple(one.get(part) for part in ("entity", "role", "group")) == key
        for other in form.required_slots
        if other != slot
        for one in domain.mappings.get(other, ())
    )


def _takes_text(domain: Domain, form: Form, slot: str, said: Said) -> bool:
    return not said.from_payload and any(
        one["type"] == "from_text" and _applies(one, form, slot, said) for one in domain.mappings.get(slot, ())
    )


def _also_text(said: Said, values: Mapping[str, Any], requested: str) -> bool:
    """Whether beside the entities for other slots there is enough left to be the text that was asked for."""
    if requested in values:
        return False
    rest = said.text
    for one in sorted(said.entities, key=lambda e: -int(e["start"])):
        rest = rest[: one["start"]] + rest[one["end"] :]
    return len(re.sub("订单号?|单号|是|的|我|order|number", "", normalised(rest))) >= 4


def _correction(
    domain: Domain,
    form: Form,
    said: Said,
    slots: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]],
    values: Mapping[str, Any],
) -> Found | None:
    """「不对，是…」「地址改成…」「订单号写错了」: which slot is corrected, and to what; None where nothing is."""
    text = simplify(said.text).strip() if len(said.text) <= 500 else ""
    requested = slots.get(REQUESTED_SLOT)
    for slot, value in _labelled(form, text):
        if slot in values:
            return Found(values)
        if value and _takes_text(domain, form, slot, said):
            return Found({**values, slot: value})
        if slots.get(slot) is not None or slot == requested:
            return Found(values, cleared=(slot,))
    match = _CORRECTED.match(text)
    if match is None:
        return None
    if values:
        return Found(values)
    value = match.group("value").strip(_TIDY)
    earlier = [slot for slot in set_in_loop([dict(e) for e in events], form.name) if slot in form.required_slots]
    filled = (slot for slot in earlier if slots.get(slot) is not None)
    target = next((slot for slot in filled if _takes_text(domain, form, slot, said)), None)
    if target is None and requested and _takes_text(domain, form, requested, said):
        target = requested
    return Found({target: value}) if target and value else None


def _labelled(form: Form, text: str) -> Iterable[tuple[str, str]]:
    """The slots named as wrong or to be changed, with the new value, "" where it is not given."""
    for slot, words in form.labels.items():
        label = "(?:" + "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)) + ")"
        given = re.search(
            rf"{label}(?:{_WRONG})?[,，。 ]*(?:了|的)?[,，。 ]*(?:应该|要|想|需要)?{_BECOMES}\s*(?P<value>.+)$",
            text,
            re.IGNORECASE | re.DOTALL,
        )
        if given:
            yield slot, given.group("value").strip(_TIDY)
        elif re.search(
            rf"{label}.{{0,6}}(?:{_WRONG}|{_CHANGE})|{_CHANGE}(?:我的|一下|the|my|\s)*{label}", text, re.IGNORECASE
        ):
            yield slot, ""
