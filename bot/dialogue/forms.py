"""The loop of a form: fill its slots from the message, have them validated, ask for the next, finish.

Source: Rasa 3.6's documentation, "Forms"; validation is rasa-sdk's (`FormValidationAction`).
"""

from collections.abc import Mapping
from typing import Any

from bot.dialogue.domain import REQUESTED_SLOT, Form
from bot.dialogue.extraction import find
from bot.dialogue.stage import ActionError, ActionRejectedError, Stage


async def run_form(stage: Stage, form: Form) -> None:
    """One message's part of the form; begins it where it is not active.

    Raises ActionRejectedError where the message holds nothing for it, ActionError where an action of it failed.
    """
    active = stage.loop == form.name
    slots = stage.slots
    found = find(stage.domain, form, stage.said, slots, stage.turn.events, active=active)
    requested = slots.get(REQUESTED_SLOT) if active else None
    if not active:
        stage.set_loop(form.name)
        stage.set(REQUESTED_SLOT, None)
    candidates = dict(found.slots)
    if not active:
        filled = {slot: slots[slot] for slot in form.required_slots if slots.get(slot) is not None}
        candidates = {**filled, **candidates}
    for slot in found.cleared:
        stage.set(slot, None)
    stage.done(form.name)
    events = await _validated(stage, form, candidates)
    validated = any(e.get("event") == "slot" and e.get("name") != REQUESTED_SLOT for e in events)
    rejected_by_hand = any(e.get("event") == "action_execution_rejected" for e in events)
    if requested and not validated and not found.cleared and not rejected_by_hand:
        raise ActionRejectedError(form.name)
    if stage.loop != form.name:
        return
    named = [e.get("value") for e in events if e.get("event") == "slot" and e.get("name") == REQUESTED_SLOT]
    after = stage.slots
    missing = next((slot for slot in form.required_slots if after.get(slot) is None), None)
    following = named[-1] if named else missing
    if following is None:
        stage.set_loop(None)
        stage.set(REQUESTED_SLOT, None)
        stage.following += stage.domain.after_form.get(form.name, ())
        return
    stage.set(REQUESTED_SLOT, following)
    await ask(stage, form, str(following))


async def ask(stage: Stage, form: Form, slot: str) -> None:
    """Ask for a slot, in the words that Rasa would take: an action's, else a response's, the form's own first."""
    for name in (f"action_ask_{form.name}_{slot}", f"action_ask_{slot}"):
        if stage.knows(name):
            await stage.call(name)
            return
    for name in (f"utter_ask_{form.name}_{slot}", f"utter_ask_{slot}"):
        if name in stage.domain.responses:
            stage.utter(name)
            return
    raise ActionError("action_not_found", f"utter_ask_{slot}")


async def _validated(stage: Stage, form: Form, candidates: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The events of the validation: the candidates themselves where the company validates nothing."""
    name = f"validate_{form.name}"
    events: list[dict[str, Any]] = []
    if stage.knows(name):
        events = await stage.call(name, candidates)
    told = {e.get("name") for e in events if e.get("event") == "slot"}
    before = len(stage.new)
    for slot, value in candidates.items():
        if slot not in told:
            stage.set(slot, value)
    return [*events, *stage.new[before:]]
