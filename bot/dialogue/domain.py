"""The declarations beside the company's actions, in Rasa's own formats: what Rasa's core would know of them.

Every YAML file of the folder (and of its `data/` and `domain/`) may hold any of Rasa's keys, as in Rasa itself:
`forms`, `slots`, `responses`, `intents`, `entities`, `actions` of a domain; `nlu` (lookup tables, regular expressions,
synonyms, examples of intents); `rules`. Stories, pipelines and policies have no meaning here and are passed over.
Source: Rasa 3.6's documentation, "Domain", "Forms", "Training Data Format" and "Rules" (2.x forms are read, too).
"""

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.dialogue.entities import Pattern
from bot.dialogue.smalltalk import normalised
from bot.language import say
from knowledge.text import simplify

FOLDERS = (".", "domain", "data")
REQUESTED_SLOT = "requested_slot"
_LISTS = ("intents", "entities", "actions")
_TABLES = ("slots", "responses", "forms")
# [words](entity), [words](entity:value) and [words]{"entity": …, "value": …, "role": …} in an example.
_ANNOTATION = re.compile(r"\[(?P<text>[^\]]+)\](?:\((?P<entity>[^):]+)(?::(?P<value>[^)]*))?\)|(?P<json>\{[^}]*\}))")
log = logging.getLogger("kefu.actions")

Mapped = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Form:
    """A form. `labels` (an addition of Kefu's) are the words customers have for a slot: 「地址写错了」."""

    name: str
    required_slots: tuple[str, ...]
    ignored_intents: tuple[str, ...] = ()
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Words:
    """What the knowledge base reads in place of an entity: `within` a message, or where it is `alone` in one."""

    within: str
    alone: str


@dataclass(frozen=True, slots=True)
class Domain:
    """What the files declare. `raw` is the domain as the action-server protocol carries it."""

    raw: dict[str, Any] = field(default_factory=lambda: _raw([]))
    forms: Mapping[str, Form] = field(default_factory=dict)
    mappings: Mapping[str, tuple[Mapped, ...]] = field(default_factory=dict)
    initial: Mapping[str, Any] = field(default_factory=dict)
    list_slots: frozenset[str] = frozenset()
    responses: Mapping[str, Sequence[Mapped]] = field(default_factory=dict)
    patterns: tuple[Pattern, ...] = ()
    examples: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[tuple[str | None, str], tuple[str, ...]] = field(default_factory=dict)
    after_form: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    words: Mapping[str, Words] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def actions_for(self, intent: str, loop: str | None = None) -> tuple[str, ...]:
        """What the rules do on an intent: one for the active loop goes before one for any conversation."""
        return self.rules.get((loop, intent)) or self.rules.get((None, intent)) or ()

    def intent_of(self, text: str) -> str | None:
        """The intent that has these very words among its examples."""
        return self.examples.get(normalised(simplify(text))) if self.examples else None


def read_domain(folders: Sequence[Path]) -> Domain:
    """The declarations of all folders; of two with one name the earlier folder's counts.

    A broken file is logged with its place, and the others are read.
    """
    files = [
        file
        for folder in folders
        for part in FOLDERS
        if (folder / part).is_dir()
        for file in sorted((folder / part).glob("*.y*ml"))
    ]
    contents: list[dict[str, Any]] = []
    problems: list[str] = []
    for file in files:
        try:
            contents.append(_checked(_load(file)))
        except Exception as error:  # noqa: BLE001 - the company's file may be anything; the others are read
            what = " ".join(str(error).split())[:200]
            problems.append(
                say(f"业务动作的声明无法读取：{file}：{what}", f"Declarations of business actions: {file}: {what}")
            )
            log.error("%s", problems[-1])  # noqa: TRY400 - the place is in it
    return _domain(contents, tuple(problems)) if contents else Domain(problems=tuple(problems))


def _load(file: Path) -> Any:
    from ruamel.yaml import YAML

    # YAML 1.2 as Rasa reads it: yes and no are words, not truth values.
    return YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))


def _checked(content: Any) -> dict[str, Any]:
    """The content with every key of ours in its right kind. Raises ValueError."""
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError("the file must hold keys such as slots, forms or responses")  # noqa: TRY004 - one kind of error
    for key, kind in [*((k, list) for k in (*_LISTS, "nlu", "rules")), *((k, dict) for k in _TABLES)]:
        if content.get(key) is not None and not isinstance(content[key], kind):
            raise ValueError(f"{key} must be a {'list' if kind is list else 'table'}")
    # As JSON, as the protocol carries it: a date in YAML is no JSON.
    whole: dict[str, Any] = json.loads(json.dumps(content, ensure_ascii=False, default=str))
    # A wrong form within shows here, with its file.
    _parts(whole)
    for name, given in _own(whole).items():
        _words(name, given)
    return whole


def _parts(content: Mapped) -> tuple[dict[str, Form], dict[str, tuple[Mapped, ...]], "_Nlu", "_Rules"]:
    forms, mappings = _forms(content.get("forms") or {}, content.get("slots") or {})
    nlu, rules = _Nlu(), _Rules()
    nlu.read(content.get("nlu") or [])
    for rule in content.get("rules") or []:
        rules.read(rule)
    return forms, mappings, nlu, rules


def _raw(contents: Sequence[Mapped]) -> dict[str, Any]:
    raw: dict[str, Any] = {key: [] for key in _LISTS} | {key: {} for key in _TABLES}
    for content in contents:
        for key in _LISTS:
            raw[key] += [one for one in content.get(key) or [] if one not in raw[key]]
        for key in _TABLES:
            raw[key] = {**(content.get(key) or {}), **raw[key]}
    return raw


def _domain(contents: Sequence[Mapped], problems: tuple[str, ...]) -> Domain:
    raw = _raw(contents)
    nlu = [one for content in contents for one in content.get("nlu") or []]
    merged = raw | {"nlu": nlu, "rules": [one for content in contents for one in content.get("rules") or []]}
    forms, mappings, learnt, rules = _parts(merged)
    entities = {name for one in raw["entities"] for name in ([one] if isinstance(one, str) else one)}
    slots: dict[str, Any] = {name: slot or {} for name, slot in raw["slots"].items()}
    return Domain(
        raw=raw,
        forms=forms,
        mappings=mappings,
        initial={name: slot.get("initial_value") for name, slot in slots.items()},
        list_slots=frozenset(name for name, slot in slots.items() if slot.get("type") == "list"),
        responses={name: tuple(_variants(found)) for name, found in raw["responses"].items()},
        patterns=tuple(learnt.patterns(entities)),
        examples=learnt.examples,
        rules=rules.by_intent,
        after_form=rules.after_form,
        words={name: _words(name, one) for content in reversed(contents) for name, one in _own(content).items()},
        problems=problems,
    )


def _own(content: Mapped) -> dict[str, Any]:
    """The words for entities under `kefu`, the one key that is not Rasa's."""
    return dict((content.get("kefu") or {}).get("words") or {})


def _words(name: str, given: Any) -> Words:
    if not isinstance(given, dict) or not isinstance(given.get("within"), str):
        raise ValueError(f"kefu: words: {name}: within must be text")  # noqa: TRY004 - one kind of error
    return Words(given["within"], str(given.get("alone") or ""))


def _variants(response: Any) -> Iterator[Mapped]:
    for one in response if isinstance(response, list) else [response]:
        yield one if isinstance(one, dict) else {"text": str(one)}


def _forms(forms: Mapped, slots: Mapped) -> tuple[dict[str, Form], dict[str, tuple[Mapped, ...]]]:
    """The forms, and every slot's mappings: those of the slot (3.x), or those written in the form (2.x)."""
    mappings = {name: tuple((slot or {}).get("mappings") or ()) for name, slot in slots.items()}
    found: dict[str, Form] = {}
    for name, form in forms.items():
        own_form = form or {}
        required = own_form.get("required_slots", {k: v for k, v in own_form.items() if isinstance(v, list)})
        if isinstance(required, dict):
            mappings |= {slot: tuple(_of_form(name, slot, one) for one in own or ()) for slot, own in required.items()}
        labels = {slot: tuple(_listed(words)) for slot, words in (own_form.get("labels") or {}).items()}
        found[name] = Form(name, tuple(required), tuple(_listed(own_form.get("ignored_intents"))), labels)
    for slot, own in mappings.items():
        for mapping in own:
            if not isinstance(mapping, dict) or not mapping.get("type"):
                raise ValueError(f"slots: {slot}: a mapping must have a type")
    return found, mappings


def _of_form(form: str, slot: str, mapping: Mapped) -> Mapped:
    """A mapping of Rasa 2.x, where text and intents filled nothing but the slot that was asked for."""
    if not isinstance(mapping, dict):
        raise ValueError(f"forms: {form}: {slot}: a mapping must have a type")  # noqa: TRY004 - one kind of error
    condition = {"active_loop": form}
    if mapping.get("type") != "from_entity":
        condition["requested_slot"] = slot
    return {"conditions": [condition], **mapping}


def _listed(value: Any) -> list[str]:
    return [] if value is None else [str(one) for one in value] if isinstance(value, list) else [str(value)]


@dataclass(slots=True)
class _Nlu:
    """What `nlu` teaches: words and expressions by entity, what they stand for, examples of intents."""

    expressions: dict[str, list[str]] = field(default_factory=dict)
    words: dict[tuple[str, str | None], list[str]] = field(default_factory=dict)
    meanings: dict[str, str] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def read(self, items: Iterable[Mapped]) -> None:
        for item in items:
            lines = [simplify(line) for line in _examples(item.get("examples"))]
            if name := item.get("regex"):
                self.expressions.setdefault(name, []).extend(re.compile(line).pattern for line in lines)
            elif name := item.get("lookup"):
                self.words.setdefault((name, None), []).extend(lines)
            elif name := item.get("synonym"):
                self.meanings |= {line.lower(): str(name) for line in lines}
            elif name := item.get("intent"):
                for line in lines:
                    self.examples.setdefault(normalised(_ANNOTATION.sub(self._annotated, line)), str(name))

    def _annotated(self, match: re.Match[str]) -> str:
        more = json.loads(match["json"]) if match["json"] else {"entity": match["entity"], "value": match["value"]}
        self.words.setdefault((str(more.get("entity")), more.get("role")), []).append(match["text"])
        if more.get("value"):
            self.meanings[match["text"].lower()] = str(more["value"])
        return match["text"]

    def patterns(self, entities: set[str]) -> Iterator[Pattern]:
        """Expressions first, as they are the more exact. One whose name is no entity is a mere feature."""
        for name, expressions in self.expressions.items():
            if not entities or name in entities:
                yield Pattern(name, re.compile("|".join(f"(?:{e})" for e in expressions), re.IGNORECASE), self.meanings)
        for (name, role), words in self.words.items():
            alternatives = "|".join(_word(word) for word in sorted(set(words), key=len, reverse=True))
            yield Pattern(name, re.compile(alternatives, re.IGNORECASE), self.meanings, role)


def _word(word: str) -> str:
    """A word as such: `in` is not found in `fine`, while Chinese words stand without blanks."""
    before = r"(?<![A-Za-z0-9])" if word[:1].isascii() else ""
    after = r"(?![A-Za-z0-9])" if word[-1:].isascii() else ""
    return before + re.escape(word) + after


def _examples(examples: Any) -> list[str]:
    if isinstance(examples, list):
        lines = [str(one.get("text", "") if isinstance(one, dict) else one) for one in examples]
    else:
        lines = [line.strip() for line in str(examples or "").splitlines()]
    stripped = (line.removeprefix("-").strip() for line in lines)
    return [line for line in stripped if line]


@dataclass(slots=True)
class _Rules:
    """`by_intent`: (active loop or None, intent) → actions. `after_form`: what is done when a form is complete."""

    by_intent: dict[tuple[str | None, str], tuple[str, ...]] = field(default_factory=dict)
    after_form: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def read(self, rule: Mapped) -> None:
        loops = [one["active_loop"] for one in rule.get("condition") or [] if one.get("active_loop")]
        within = loops[0] if loops else None
        loop, intent, closed = within, None, False
        at_once: list[str] = []
        after: list[str] = []
        for step in rule.get("steps") or []:
            if not isinstance(step, dict):
                continue
            if "intent" in step:
                intent = str(step["intent"])
            elif "active_loop" in step:
                closed = step["active_loop"] in (None, "null")
                loop = loop if closed else str(step["active_loop"])
            elif step.get("action") not in (None, "action_listen"):
                (after if closed else at_once).append(str(step["action"]))
        if intent and at_once:
            self.by_intent.setdefault((within, intent), tuple(at_once))
        if loop and closed and after:
            self.after_form.setdefault(loop, tuple(after))
