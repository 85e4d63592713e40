"""A conversation's state as rasa-sdk sees it: slots, events, the active loop. Pure functions.

Source: the tracker's keys and the events' effects are those of rasa-sdk 3.21 (`rasa_sdk.types`, `rasa_sdk.events`).
"""

import copy
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

EVENTS_KEPT = 200
Event = dict[str, Any]

_ENTITIES = (
    ("email", re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")),
    ("phone", re.compile(r"(?<!\d)1[3-9]\d{9}(?!\d)")),
    ("code", re.compile(r"(?=[A-Za-z0-9-]*[A-Za-z])(?=[A-Za-z0-9-]*\d)[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")),
    ("number", re.compile(r"\d+(?:\.\d+)?")),
)


def entities(text: str) -> list[dict[str, Any]]:
    """What the words alone show, in rasa's form: `email`, `phone` (mainland mobile), `code`, `number`."""
    # One wide digit becomes one narrow digit, so that positions stay those of the text.
    plain = "".join(unicodedata.normalize("NFKC", c) if "！" <= c <= "～" else c for c in text)
    found: list[dict[str, Any]] = []
    taken: list[tuple[int, int]] = []
    for name, pattern in _ENTITIES:
        for match in pattern.finditer(plain):
            if any(match.start() < end and start < match.end() for start, end in taken):
                continue
            taken.append(match.span())
            found.append({"entity": name, "value": match.group(0), "start": match.start(), "end": match.end()})
    return sorted(found, key=lambda entity: int(entity["start"]))


def user_event(text: str, parsed: Mapping[str, Any], channel: str, timestamp: float) -> Event:
    """The event of the customer's message."""
    return {
        "event": "user", "timestamp": timestamp, "text": text, "parse_data": dict(parsed), "input_channel": channel,
    }  # fmt: skip


def active_loop(events: Sequence[Event]) -> str | None:
    """The loop that waits for the customer's next message, None where none does."""
    for event in reversed(events):
        if event.get("event") == "active_loop":
            return event.get("name") or None
        if event.get("event") in ("restart", "session_started"):
            return None
    return None


def apply(slots: Mapping[str, Any], events: Iterable[Event]) -> dict[str, Any]:
    """The slots after `events`."""
    after = copy.deepcopy(dict(slots))
    for event in events:
        kind = event.get("event")
        if kind == "slot" and isinstance(event.get("name"), str):
            after[event["name"]] = event.get("value")
        elif kind in ("reset_slots", "restart"):
            after = {}
    return after


def kept(events: Sequence[Event]) -> tuple[Event, ...]:
    """The newest events, as many as a conversation keeps; nothing from before a restart."""
    for place in range(len(events) - 1, -1, -1):
        if events[place].get("event") == "restart":
            events = events[place:]
            break
    return tuple(events[-EVENTS_KEPT:])


def state(
    sender_id: str,
    slots: Mapping[str, Any],
    events: Sequence[Event],
    latest_message: Mapping[str, Any],
    channel: str,
    loop: str | None,
) -> dict[str, Any]:
    """The tracker as the action-server protocol carries it."""
    actions = [event.get("name") for event in events if event.get("event") == "action"]
    name = actions[-1] if actions else "action_listen"
    return {
        "sender_id": sender_id,
        "slots": copy.deepcopy(dict(slots)),
        "latest_message": dict(latest_message),
        "latest_event_time": events[-1].get("timestamp") if events else None,
        "followup_action": None,
        "paused": False,
        "events": copy.deepcopy(list(events)),
        "latest_input_channel": channel,
        "active_loop": {"name": loop} if loop else {},
        "latest_action": {"action_name": name},
        "latest_action_name": name,
    }
