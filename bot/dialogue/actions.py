"""Business actions and forms: rasa-sdk's from the company's folder run in process, others on its action server.

Whatever an action does, the turn goes on: it raises, hangs or returns nonsense, and the caller gets an `ActionError`
whose log line names the action and the kind of failure, without the conversation's content.
"""

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any

from bot.dialogue import extraction, tracker
from bot.dialogue.domain import REQUESTED_SLOT, Domain, Form, read_domain
from bot.dialogue.forms import ask, run_form
from bot.dialogue.stage import ActionError, ActionRejectedError, Executor, Stage
from bot.dialogue.types import Turn
from bot.zone import company_zone

if TYPE_CHECKING:
    from bot.config import Settings

__all__ = ["ActionError", "ActionRejectedError", "ActionResult", "Actions", "Executor", "open_actions"]

# Actions on one message, all together and of one name: an action may name itself as its follow-up.
STEPS_MAX = 12
REPEATS_MAX = 3
# A loop that gets nowhere: failures in a row, and messages without a slot set.
FAILURES_MAX = 2
FRUITLESS_MAX = 12
log = logging.getLogger("kefu.actions")


@dataclass(frozen=True, slots=True)
class ActionResult:
    """What an action said and left behind; `slots` and `events` are the conversation's whole state after it.

    `paused` is true where it asked the bot to be silent (`ConversationPaused`).
    """

    text: str
    suggestions: tuple[str, ...]
    image_url: str | None
    custom: dict[str, Any] | None
    slots: dict[str, Any]
    events: tuple[dict[str, Any], ...]
    paused: bool = False


class Actions:
    """All actions of the company: those of its folder first, then those of its action server.

    What customers say of days and hours, 「明天」, is meant in the company's time zone; None is this machine's.
    """

    def __init__(
        self,
        local: Executor | None = None,
        remote: Executor | None = None,
        domain: Domain | None = None,
        zone: tzinfo | None = None,
    ) -> None:
        self._local = local
        self._remote = remote
        self._zone = zone
        self.domain = domain or Domain()

    @property
    def names(self) -> frozenset[str]:
        """Actions known by name; an action server may have more."""
        return self._local.names if self._local else frozenset()

    async def run(
        self,
        name: str,
        turn: Turn,
        *,
        then: Sequence[str] = (),
        intent: str = "",
        probability: float = 0.0,
        fresh: bool = False,
    ) -> ActionResult:
        """Run an action, a form or a response (`utter_…`) on the turn's message, what follows from it, and `then`.

        `fresh` begins it anew where it is the loop that waits. Raises ActionError, ActionRejectedError.
        """
        stage = self._stage(turn, (intent, probability))
        if fresh and stage.loop == name:
            stage.set_loop(None)
        stage.following += [name, *then]
        runs: Counter[str] = Counter()
        while stage.following and runs.total() < STEPS_MAX:
            current = stage.following.pop(0)
            runs[current] += 1
            if runs[current] > REPEATS_MAX:
                log.warning("action %s: follows itself without an end", current)
                break
            await self._perform(stage, current)
        return _result(stage)

    def form(self, name: str | None) -> Form | None:
        """The form of that name, None where it is none."""
        return self.domain.forms.get(name or "")

    def question(self, text: str) -> str:
        """The message as the knowledge base is asked: the company's own numbers (of orders) put in words."""
        return extraction.in_words(text, self.domain) if self.domain.words else text

    def wish(self, turn: Turn) -> str:
        """What is wanted, without the particulars that come along: 「我要退货」 of 「我要退货，后天来取」."""
        return extraction.wish(self.read(turn), self.domain) if self.domain.forms else ""

    def may_have_meant(self, turn: Turn) -> bool:
        """Whether the message may be a button's or an example's words: most need no reading."""
        return bool(turn.events or turn.text.startswith("/") or self.domain.examples)

    def read(self, turn: Turn) -> extraction.Said:
        """What the message says, as an action's tracker has it."""
        return extraction.read(turn.text, self.domain, self._now(), turn.events)

    def _now(self) -> datetime:
        return datetime.now(self._zone).astimezone(self._zone)

    def takes(self, form: Form, turn: Turn, said: extraction.Said) -> extraction.Found:
        """What the waiting form would take from the message."""
        slots = {**self.domain.initial, **turn.slots}
        return extraction.find(self.domain, form, said, slots, turn.events, active=True)

    def on_a_guess(self, name: str | None, turn: Turn) -> bool:
        """Whether a form of that name would begin with none of what it asks for, on the message's meaning alone."""
        form = self.form(name)
        slots = {**self.domain.initial, **turn.slots}
        return form is not None and not extraction.find(
            self.domain, form, self.read(turn), slots, turn.events, active=False
        )

    def may_run(self, name: str) -> bool:
        """Whether an action of that name may be there: an action server is not asked what it has."""
        return name in self.names or self._remote is not None

    def has_custom(self, slot: str | None) -> bool:
        """Whether only the company's code can say if a message fills the slot."""
        return any(mapping["type"] == "custom" for mapping in self.domain.mappings.get(slot or "", ()))

    async def ask_again(self, turn: Turn, form: Form) -> ActionResult | None:
        """The question that the form waits for an answer to, once more; None where it cannot be put."""
        stage = self._stage(turn, ("", 0.0))
        stage.new.clear()
        slot = stage.slots.get(REQUESTED_SLOT)
        if not slot:
            return None
        try:
            await ask(stage, form, str(slot))
        except ActionError as error:
            log.warning("action %s", error)
            return None
        return _result(stage)

    def end_loop(self, turn: Turn, name: str) -> tuple[dict[str, Any], tuple[dict[str, Any], ...]]:
        """Slots and events after the loop was called off: what it had asked for is forgotten."""
        now = time.time()
        form = self.form(name)
        forgotten = [slot for slot in tracker.set_in_loop(turn.events, name) if form and slot in form.required_slots]
        new = [
            tracker.loop_event(None, now),
            *(tracker.slot_event(slot, self.domain.initial.get(slot), now) for slot in forgotten),
            *([tracker.slot_event(REQUESTED_SLOT, None, now)] if form else []),
        ]
        return tracker.apply(turn.slots, new), tracker.kept([*turn.events, *new])

    def failed(self, turn: Turn, name: str) -> tuple[dict[str, Any], ...]:
        """The conversation's events after the loop's action failed: it may be tried once more, then it is over."""
        now = time.time()
        rejected = {"event": "action_execution_rejected", "name": name, "timestamp": now}
        events = [*turn.events, rejected]
        if tracker.fruitless(events, name)[1] >= FAILURES_MAX:
            events.append(tracker.loop_event(None, now))
        return tracker.kept(events)

    def is_stuck(self, turn: Turn, name: str) -> bool:
        """Whether a loop has had its chances: it takes message after message, and no slot is ever set."""
        return tracker.fruitless(turn.events, name)[0] >= FRUITLESS_MAX

    async def close(self) -> None:
        for executor in (self._local, self._remote):
            if executor:
                await executor.close()

    def _stage(self, turn: Turn, intent: tuple[str, float]) -> Stage:
        said = extraction.read(turn.text, self.domain, self._now(), turn.events, intent)
        return Stage(turn, self.domain, said, self._executor, self.names)

    async def _perform(self, stage: Stage, name: str) -> None:
        if name == "action_listen":
            stage.following.clear()
        elif name == "action_restart":
            stage.new.append({"event": "restart", "timestamp": time.time()})
        elif name == "action_deactivate_loop":
            stage.set_loop(None)
            stage.set(REQUESTED_SLOT, None)
        elif form := self.form(name):
            await run_form(stage, form)
        elif name.startswith("utter_") and not stage.knows(name):
            stage.utter(name)
        else:
            events = await stage.call(name)
            stage.following[:0] = [str(e["name"]) for e in events if e.get("event") == "followup" and e.get("name")]

    def _executor(self, name: str) -> Executor:
        if self._local and (name in self._local.names or not self._remote):
            return self._local
        if self._remote:
            return self._remote
        raise ActionError("action_not_found", name)


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
    remote = RemoteExecutor(url, settings.action_timeout_seconds) if url else None
    return Actions(local, remote, read_domain(folders), company_zone(settings))


def _result(stage: Stage) -> ActionResult:
    responses = stage.responses
    texts = [str(r["text"]).strip() for r in responses if r.get("text")]
    texts += [r["attachment"] for r in responses if isinstance(r.get("attachment"), str)]
    titles = [
        str(button["title"])
        for r in responses
        for button in (r.get("buttons") or [])
        if isinstance(button, Mapping) and button.get("title")
    ]
    image = next((r["image"] for r in responses if isinstance(r.get("image"), str) and r["image"]), None)
    custom = next((r["custom"] for r in responses if isinstance(r.get("custom"), dict) and r["custom"]), None)
    events = tracker.kept([*stage.turn.events, *stage.new])
    return ActionResult(
        "\n\n".join(texts), tuple(dict.fromkeys(titles)), image, custom, stage.slots, events, tracker.paused(events)
    )
