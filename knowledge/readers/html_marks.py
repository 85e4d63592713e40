"""Questions and answers that a page's own structure tells apart: microdata, lists of definitions, what opens."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from knowledge.readers.blocks import Role
from knowledge.readers.html_inline import words
from knowledge.readers.questions import QUESTION_CHARACTERS_MAX, SYMPTOM, asks

_QUESTION_NAMES = re.compile(
    r"(?:^|[-_])(?:question|faqq|faq[-_]?q|q|ques|quest|wenti|wen|timu)(?:$|[-_](?:title|text|head|name|box|hd)?$)|"
    r"(?:accordion|collapse|collapsible|toggle|expand(?:er)?|faq|panel|card|fold|qa)[-_]*(?:item)?[-_]*(?:header|heading|head|title|toggle|button|btn|trigger|question|summary|hd)$|"
    r"(?:layui-colla-title|weui-cell__hd|[qQ]uestion(?:Title|Text)?$|faq[-_]?item[-_]?title)"
)
_ANSWER_NAMES = re.compile(
    r"(?:^|[-_])(?:answer|answers|faqa|faq[-_]?a|a|ans|huida|da|daan)(?:$|[-_](?:text|body|box|content|bd|wrap)?$)|"
    r"(?:accordion|collapse|collapsible|toggle|expand(?:er)?|faq|panel|card|fold|qa)[-_]*(?:item)?[-_]*(?:body|content|panel|answer|wrap|wrapper|collapse|text|desc|inner|bd)$|"
    r"(?:layui-colla-content|[aA]nswer(?:Text|Body|Content)?$)"
)
_PAIR_DISTANCE_MAX = 6


@dataclass(slots=True)
class Marks:
    """Elements that are a question or its answer."""

    roles: dict[Any, Role] = field(default_factory=dict)
    _around: set[Any] = field(default_factory=set)

    def add(self, question: Any, answers: list[Any], role: Role) -> bool:
        """Mark a pair unless part of it is marked already."""
        if any(self._is_taken(element) for element in (question, *answers)):
            return False
        self.roles[question] = role
        for answer in answers:
            self.roles[answer] = "answer"
        for element in (question, *answers):
            self._around.update(element.iterancestors())
        return True

    def covers(self, element: Any) -> bool:
        """Whether an element holds marked ones."""
        return element in self._around

    def _is_taken(self, element: Any) -> bool:
        return (
            element in self.roles
            or element in self._around
            or any(one in self.roles for one in element.iterancestors())
        )


def mark(body: Any) -> Marks:
    """The pairs of a page, the surest kinds first."""
    marks = Marks()
    for finder, role in (
        (_microdata, "faq"),
        (_details, "toggle"),
        (_controlled, "toggle"),
        (_named, "toggle"),
        (_definitions, "toggle"),
    ):
        for question, answers in finder(body):
            if len(words(question)) <= QUESTION_CHARACTERS_MAX and not _in_navigation(question):
                marks.add(question, answers, role)  # type: ignore[arg-type]
    return marks


def _microdata(body: Any) -> Iterator[tuple[Any, list[Any]]]:
    for item in body.iter():
        kind = item.get("itemtype") or item.get("typeof") or "" if isinstance(item.tag, str) else ""
        if not kind.rstrip("/").endswith("Question"):
            continue
        names = [
            e for e in item.iter() if isinstance(e.tag, str) and (e.get("itemprop") or e.get("property")) == "name"
        ]
        texts = [
            e for e in item.iter() if isinstance(e.tag, str) and (e.get("itemprop") or e.get("property")) == "text"
        ]
        answers = [e for e in texts if any(_is_answer(one) for one in e.iterancestors())]
        if names and answers and names[0] not in answers:
            yield names[0], answers


def _is_answer(element: Any) -> bool:
    return (element.get("itemtype") or element.get("typeof") or "").rstrip("/").endswith("Answer")


def _details(body: Any) -> Iterator[tuple[Any, list[Any]]]:
    for details in body.iter("details"):
        summary = details.find("summary")
        if summary is None or not words(summary):
            continue
        yield summary, [_boxed(details, summary)]


def _boxed(details: Any, summary: Any) -> Any:
    """All that stands behind the summary, in an element of its own."""
    box = details.makeelement("div")
    box.text, summary.tail = summary.tail, None
    for child in [child for child in details if child is not summary]:
        box.append(child)
    details.append(box)
    return box


def _controlled(body: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Triggers that name what they open: Bootstrap's collapse, aria-controls, links to a hidden part of the page."""
    by_id = {
        element.get("id"): element for element in body.iter() if isinstance(element.tag, str) and element.get("id")
    }
    for trigger in body.iter("a", "button", "div", "h2", "h3", "h4", "h5", "span", "li", "p", "dt"):
        opens = trigger.get("data-toggle") == "collapse" or trigger.get("data-bs-toggle") == "collapse"
        named = trigger.get("data-bs-target") or trigger.get("data-target") or trigger.get("href") or ""
        target = (
            by_id.get(trigger.get("aria-controls") or "")
            if not opens or not named.startswith("#")
            else by_id.get(named[1:])
        )
        controls = opens or (trigger.get("aria-controls") and trigger.get("aria-expanded") is not None)
        if not controls or target is None or target is trigger or target in set(trigger.iterancestors()):
            continue
        if words(trigger) and (words(target) or target.find(".//img") is not None):
            yield trigger, [target]


def _named(body: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Elements whose class says question, or title of what opens, each before one whose class says answer."""
    waiting: Any = None
    distance = 0
    inside: Any = None
    for element in body.iter():
        if not isinstance(element.tag, str):
            continue
        if inside is not None and inside in element.iterancestors():
            continue
        names = (element.get("class") or "").split()
        distance += 1
        if any(map(_ANSWER_NAMES.search, names)):
            if (
                waiting is not None
                and waiting not in element.iterancestors()
                and distance <= _PAIR_DISTANCE_MAX + len(waiting)
            ):
                yield waiting, [element]
                waiting, inside = None, element
        elif any(map(_QUESTION_NAMES.search, names)) and 0 < len(words(element)) <= QUESTION_CHARACTERS_MAX:
            holds_answer = any(
                any(map(_ANSWER_NAMES.search, (one.get("class") or "").split())) and words(one)
                for one in element.iterdescendants()
                if isinstance(one.tag, str)
            )
            if not holds_answer:
                waiting, distance, inside = element, 0, None


def _definitions(body: Any) -> Iterator[tuple[Any, list[Any]]]:
    """<dt> with the <dd> that follow it, in lists whose terms mostly ask."""
    for definitions in body.iter("dl"):
        pairs: list[tuple[Any, list[Any]]] = []
        for child in definitions.iter("dt", "dd"):
            if child.tag == "dt" and words(child):
                pairs.append((child, []))
            elif child.tag == "dd" and pairs:
                pairs[-1][1].append(child)
        asking = sum(asks(words(term)) >= SYMPTOM for term, _ in pairs)
        if 2 * asking >= max(1, len(pairs)):
            yield from ((term, answers) for term, answers in pairs if answers)


def _in_navigation(element: Any) -> bool:
    return any(
        ancestor.tag in ("nav", "footer", "aside", "header") or (ancestor.get("role") or "") == "navigation"
        for ancestor in element.iterancestors()
        if ancestor.tag not in ("article", "main")
    )
