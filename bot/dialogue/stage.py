"""What one message sets going: the actions that run on it, what they say, the conversation's state as it changes."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from bot.dialogue import tracker
from bot.dialogue.domain import Domain
from bot.dialogue.extraction import Said
from bot.dialogue.responses import rendered, with_responses
from bot.dialogue.types import Turn

RASA_VERSION = "3.6.21"
# What one action may give: a reply that nobody can read, or a state that would be stored with every turn, is none.
RESULT_BYTES_MAX = 256 * 1024
TEXT_CHARACTERS_MAX = 20_000
log = logging.getLogger("kefu.actions")


class ActionError(Exception):
    """An action that gave no usable result. `code`: action_not_found, action_failed, action_slow, action_nonsense,
    action_busy or action_unreachable.
    """

    def __init__(self, code: str, action: str, detail: str = "") -> None:
        super().__init__(f"{action}: {code}{f' ({detail})' if detail else ''}")
        self.code, self.action, self.detail = code, action, detail


class ActionRejectedError(ActionError):
    """The action says that the message is not for it (rasa-sdk's `ActionExecutionRejection`)."""

    def __init__(self, action: str) -> None:
        super().__init__("action_rejected", action)


class Executor(Protocol):
    """Runs one action call (the action-server protocol's request body) and gives its result's body."""

    @property
    def names(self) -> frozenset[str]:
        """The actions known here."""
        ...

    async def run(self, call: dict[str, Any]) -> Mapping[str, Any]: ...

    async def close(self) -> None: ...


class Stage:
    """One message's run. `responses` are what is said, in order; `new` the events it makes, the message's own first."""

    def __init__(
        self, turn: Turn, domain: Domain, said: Said, executor: Callable[[str], Executor], names: frozenset[str]
    ) -> None:
        self.turn, self.domain, self.said = turn, domain, said
        self._executor, self._names = executor, names
        self._now = time.time()
        self._message = said.parsed(turn.language)
        self.responses: list[dict[str, Any]] = []
        self.following: list[str] = []
        self.new: list[tracker.Event] = [
            {"event": "action", "name": "action_listen", "timestamp": self._now},
            tracker.user_event(turn.text, self._message, turn.channel, self._now),
        ]

    @property
    def slots(self) -> dict[str, Any]:
        base = {**self.domain.initial, **self.turn.slots}
        return tracker.apply(base, tracker.applied(self.new), self.domain.initial)

    @property
    def events(self) -> list[tracker.Event]:
        return tracker.applied([*self.turn.events, *self.new])

    @property
    def loop(self) -> str | None:
        return tracker.active_loop(self.events)

    def knows(self, name: str) -> bool:
        """Whether there is such an action, here or (by the domain) on the action server."""
        return name in self._names or name in self.domain.raw["actions"]

    def set(self, slot: str, value: Any) -> None:
        self.new.append(tracker.slot_event(slot, value, self._now))

    def set_loop(self, name: str | None) -> None:
        self.new.append(tracker.loop_event(name, self._now))

    def utter(self, name: str) -> None:
        """Say a response of the domain. Raises ActionError where there is none of that name."""
        if name not in self.domain.responses:
            raise ActionError("action_not_found", name)
        self._done(name)
        self._say({"response": name})

    async def call(self, name: str, candidates: Mapping[str, Any] | None = None) -> list[tracker.Event]:
        """Run one action; what it says is said, its events are added and returned.

        `candidates` are slots that it is to validate. Raises ActionError, ActionRejectedError.
        """
        asked = [tracker.slot_event(slot, value, self._now) for slot, value in (candidates or {}).items()]
        slots = tracker.apply(self.slots, asked, self.domain.initial)
        events = [*self.events, *asked]
        state = tracker.state(self.turn.conversation_id, slots, events, self._message, self.turn.channel)
        call = {
            "next_action": name, "sender_id": self.turn.conversation_id, "version": RASA_VERSION,
            "domain": {**self.domain.raw, "actions": sorted({*self.domain.raw["actions"], *self._names})},
            "tracker": state,
        }  # fmt: skip
        responses, events = checked(name, await self._executor(name).run(call))
        self._done(name)
        for response in responses:
            self._say(response)
        self.new += events
        return events

    def done(self, name: str) -> None:
        """A form was executed."""
        self._done(name)

    def _done(self, name: str) -> None:
        self.new.append({"event": "action", "name": name, "timestamp": self._now})

    def _say(self, message: Mapping[str, Any]) -> None:
        """Add one message; where it names a response of the domain, that one with the message's own values."""
        name = message.get("response") or message.get("template")
        whole = dict(message)
        if name and name in self.domain.responses:
            told = sum(
                e.get("event") == "bot" and (e.get("metadata") or {}).get("utter_action") == name for e in self.events
            )
            values = {**self.slots, **message}
            response = rendered(
                self.domain.responses[name], values, language=self.turn.language, channel=self.turn.channel, told=told
            )
            whole = with_responses(message, response)
        elif name and not message.get("text"):
            log.warning("action: there is no response %s in the domain", name)
        event = tracker.bot_event(whole, self._now)
        event["metadata"] = {"utter_action": name} if name else {}
        self.responses.append(whole)
        self.new.append(event)


def checked(name: str, result: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Responses and events of a result, every one an object as the protocol has it. Raises ActionError."""
    if not isinstance(result, Mapping):
        raise ActionError("action_nonsense", name, f"a {type(result).__name__} instead of an object")
    responses, events = result.get("responses") or [], result.get("events") or []
    if not isinstance(responses, list) or not isinstance(events, list):
        raise ActionError("action_nonsense", name, "responses and events must be lists")
    for response in responses:
        if not isinstance(response, dict) or not isinstance(response.get("text") or "", str):
            raise ActionError("action_nonsense", name, "a response must be an object with a text")
    if not all(isinstance(event, dict) for event in events):
        raise ActionError("action_nonsense", name, "an event must be an object")
    try:
        size = len(json.dumps([responses, events], ensure_ascii=False, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise ActionError("action_nonsense", name, "what cannot be written as JSON") from error
    characters = sum(len(response.get("text") or "") for response in responses)
    if size > RESULT_BYTES_MAX or characters > TEXT_CHARACTERS_MAX:
        raise ActionError("action_nonsense", name, f"{size} bytes with {characters} characters of text")
    return responses, events
