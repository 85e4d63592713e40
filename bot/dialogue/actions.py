"""Business actions: rasa-sdk actions from the company's folder run in process, others on its action server.

Whatever an action does, the turn goes on: it raises, hangs or returns nonsense, and the caller gets an `ActionError`
whose log line names the action and the kind of failure, without the conversation's content.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from bot.dialogue import tracker
from bot.dialogue.types import Turn

if TYPE_CHECKING:
    from bot.config import Settings

FOLLOWUPS_MAX = 3
RASA_VERSION = "3.6.21"
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


@dataclass(frozen=True, slots=True)
class ActionResult:
    """What an action said and left behind; `slots` and `events` are the conversation's whole state after it."""

    text: str
    suggestions: tuple[str, ...]
    image_url: str | None
    custom: dict[str, Any] | None
    slots: dict[str, Any]
    events: tuple[dict[str, Any], ...]


class Actions:
    """All actions of the company: those of its folder first, then those of its action server."""

    def __init__(self, local: Executor | None = None, remote: Executor | None = None) -> None:
        self._local = local
        self._remote = remote

    @property
    def names(self) -> frozenset[str]:
        """Actions known by name; an action server may have more."""
        return self._local.names if self._local else frozenset()

    async def run(
        self, name: str, turn: Turn, *, intent: str = "", probability: float = 0.0, loop: str | None = None
    ) -> ActionResult:
        """Run an action on the turn's message; follow-up actions that it names run after it.

        `loop` is the active loop the action is told of. Raises ActionError, ActionRejectedError.
        """
        recognised = {"name": intent or None, "confidence": probability}
        message = {
            "text": turn.text, "intent": recognised, "intent_ranking": [recognised] if intent else [],
            "entities": tracker.entities(turn.text), "metadata": {"language": turn.language},
        }  # fmt: skip
        now = time.time()
        events = [*turn.events, tracker.user_event(turn.text, message, turn.channel, now)]
        slots = dict(turn.slots)
        responses: list[dict[str, Any]] = []
        following: str | None = name
        for _ in range(FOLLOWUPS_MAX):
            if following is None:
                break
            current, following = following, None
            call = {
                "next_action": current, "sender_id": turn.conversation_id, "version": RASA_VERSION,
                "domain": self._domain(),
                "tracker": tracker.state(turn.conversation_id, slots, events, message, turn.channel, loop),
            }  # fmt: skip
            said, new = _checked(current, await self._executor(current).run(call))
            responses += said
            events += [{"event": "action", "name": current, "timestamp": now}, *new]
            slots = tracker.apply(slots, new)
            loop = tracker.active_loop(events)
            following = next((str(e["name"]) for e in new if e.get("event") == "followup" and e.get("name")), None)
        return _result(responses, slots, events)

    async def close(self) -> None:
        for executor in (self._local, self._remote):
            if executor:
                await executor.close()

    def _executor(self, name: str) -> Executor:
        if self._local and (name in self._local.names or not self._remote):
            return self._local
        if self._remote:
            return self._remote
        raise ActionError("action_not_found", name)

    def _domain(self) -> dict[str, Any]:
        return {
            "actions": sorted(self.names), "intents": [], "entities": [], "slots": {}, "responses": {}, "forms": {},
        }  # fmt: skip


def open_actions(settings: "Settings") -> Actions:
    """The actions of the settings' folder and server. A broken file is logged with its line; the others load."""
    from bot.dialogue.action_files import LocalExecutor
    from bot.dialogue.action_server import RemoteExecutor

    folders = [settings.actions]
    if settings.demo:
        from bot.demo import actions_folder

        folders.append(actions_folder())
    local = LocalExecutor(folders, settings.action_timeout_seconds, data=settings.data)
    url = settings.action_server_url
    return Actions(local, RemoteExecutor(url, settings.action_timeout_seconds) if url else None)


def _checked(name: str, result: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
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
    return responses, events


def _result(responses: list[dict[str, Any]], slots: dict[str, Any], events: list[dict[str, Any]]) -> ActionResult:
    texts = [str(r["text"]).strip() for r in responses if r.get("text")]
    texts += [r["attachment"] for r in responses if isinstance(r.get("attachment"), str)]
    titles = [
        str(button["title"])
        for r in responses
        for button in (r.get("buttons") or [])
        if isinstance(button, dict) and button.get("title")
    ]
    image = next((r["image"] for r in responses if isinstance(r.get("image"), str) and r["image"]), None)
    custom = next((r["custom"] for r in responses if isinstance(r.get("custom"), dict) and r["custom"]), None)
    return ActionResult("\n\n".join(texts), tuple(dict.fromkeys(titles)), image, custom, slots, tracker.kept(events))
