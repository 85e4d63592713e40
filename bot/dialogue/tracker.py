"""A conversation's state as rasa-sdk sees it: slots, events, the active loop. Pure functions.

Source: the tracker's keys and the events' effects are those of rasa-sdk 3.21 (`rasa_sdk.types`, `rasa_sdk.events`,
`rasa_sdk.interfaces.Tracker.applied_events`).
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bot.dialogue.smalltalk import normalised

EVENTS_KEPT = 200
Event = dict[str, Any]


def user_event(text: str, parsed: Mapping[str, Any], channel: str, timestamp: float) -> Event:
    """The event of the customer's message."""
    return {
        "event": "user", "timestamp": timestamp, "text": text, "parse_data": dict(parsed), "input_channel": channel,
    }  # fmt: skip


def bot_event(response: Mapping[str, Any], timestamp: float) -> Event:
    """The event of something said to the customer, with its buttons and the rest of its parts."""
    data = {key: response.get(key) or None for key in ("elements", "buttons", "attachment", "image", "custom")}
    return {"event": "bot", "timestamp": timestamp, "text": response.get("text"), "data": data, "metadata": {}}


def slot_event(name: str, value: Any, timestamp: float) -> Event:
    return {"event": "slot", "timestamp": timestamp, "name": name, "value": value}


def loop_event(name: str | None, timestamp: float) -> Event:
    return {"event": "active_loop", "timestamp": timestamp, "name": name}


def applied(events: Iterable[Event]) -> list[Event]:
    """The events that count: not what `rewind` (a message) or `undo` (an action) took back, nor before a restart."""
    done: list[Event] = []
    for event in events:
        kind = event.get("event")
        if kind == "rewind":
            _undo(done, "user")
            # The listening before the message goes with it.
            if done and done[-1].get("name") == "action_listen":
                done.pop()
        elif kind == "undo":
            _undo(done, "action")
        elif kind == "restart":
            done = [event]
        else:
            done.append(event)
    return done


def _undo(events: list[Event], kind: str) -> None:
    while events:
        if events.pop().get("event") == kind:
            return


def active_loop(events: Sequence[Event]) -> str | None:
    """The loop that waits for the customer's next message, None where none does."""
    for event in reversed(events):
        if event.get("event") == "active_loop":
            return event.get("name") or None
        if event.get("event") in ("restart", "session_started"):
            return None
    return None


def paused(events: Sequence[Event]) -> bool:
    """Whether an action paused the bot, and none resumed it."""
    marks = (event["event"] for event in reversed(events) if event.get("event") in ("pause", "resume", "restart"))
    return next(marks, None) == "pause"


def apply(
    slots: Mapping[str, Any], events: Iterable[Event], initial: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The slots after `events`; `initial` are the values of a conversation's beginning."""
    after = copy.deepcopy(dict(slots))
    for event in events:
        kind = event.get("event")
        if kind == "slot" and isinstance(event.get("name"), str):
            after[event["name"]] = event.get("value")
        elif kind in ("reset_slots", "restart"):
            after = copy.deepcopy(dict(initial or {}))
    return after


def kept(events: Sequence[Event]) -> tuple[Event, ...]:
    """The newest events that count, as many as a conversation keeps."""
    return tuple(applied(events)[-EVENTS_KEPT:])


def payload_of(events: Sequence[Event], text: str) -> str | None:
    """What the button with these words sends: pages send a button's words. The newest such button counts."""
    said = normalised(text)
    for event in reversed(events):
        if event.get("event") != "bot" or not said:
            continue
        for button in (event.get("data") or {}).get("buttons") or []:
            if (
                isinstance(button, dict)
                and normalised(str(button.get("title") or "")) == said
                and button.get("payload")
            ):
                return str(button["payload"])
    return None


def set_in_loop(events: Sequence[Event], loop: str) -> list[str]:
    """The slots that were set since the loop began, the newest first."""
    names: dict[str, None] = {}
    for event in reversed(events):
        if event.get("event") == "active_loop" and event.get("name") == loop:
            break
        if event.get("event") == "slot" and event.get("value") is not None:
            names.setdefault(str(event.get("name")))
    return list(names)


def fruitless(events: Sequence[Event], loop: str) -> tuple[int, int]:
    """How many messages a loop has had without setting a slot, and how many failures of it were the last in a row."""
    messages = failures = 0
    in_a_row = True
    for event in reversed(events):
        kind = event.get("event")
        if kind == "slot" and event.get("value") is not None and event.get("name") != "requested_slot":
            break
        if kind == "active_loop" and event.get("name") != loop:
            break
        if kind == "user":
            messages += 1
        elif kind == "action_execution_rejected" and in_a_row:
            failures += 1
        elif kind == "bot":
            in_a_row = False
    return messages, failures


def state(
    sender_id: str,
    slots: Mapping[str, Any],
    events: Sequence[Event],
    latest_message: Mapping[str, Any],
    channel: str,
) -> dict[str, Any]:
    """The tracker as the action-server protocol carries it."""
    name = next((event.get("name") for event in reversed(events) if event.get("event") == "action"), "action_listen")
    loop = active_loop(events)
    return {
        "sender_id": sender_id,
        "slots": copy.deepcopy(dict(slots)),
        "latest_message": dict(latest_message),
        "latest_event_time": events[-1].get("timestamp") if events else None,
        "followup_action": None,
        "paused": paused(events),
        "events": copy.deepcopy(list(events)),
        "latest_input_channel": channel,
        "active_loop": {"name": loop} if loop else {},
        "latest_action": {"action_name": name},
        "latest_action_name": name,
    }
