"""Kefu as an action of a Rasa assistant: `action_kefu_answer`, served by rasa-sdk's own action server.

    KEFU_URL=http://127.0.0.1:8080 python -m rasa_sdk --actions connectors.rasa.actions

The customer's last message goes to Kefu's Rasa REST channel, in a conversation of its own for every Rasa sender, and
what Kefu says is uttered: texts, buttons, images, custom payloads. `KEFU_TOKEN` is the channel's token, if it has one.
The file needs rasa-sdk and aiohttp alone, and may be copied into an assistant's own actions.
"""

import logging
import os
from dataclasses import dataclass
from typing import Any

import aiohttp
from rasa_sdk import Action, Tracker
from rasa_sdk.events import SlotSet
from rasa_sdk.executor import CollectingDispatcher

URL = "http://127.0.0.1:8080"
TIMEOUT_SECONDS = 30.0
ANSWER_BYTES_MAX = 1024 * 1024
SENDER_PREFIX = "rasa:"
DECISION = "Kefu-Decision"
UNREACHABLE = "抱歉，暂时无法回答，请稍后再试。 Sorry, there is no answer just now; please try again later."
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """Kefu's messages, and what it decided: `answer`, `clarify`, `generate`, `handoff`, `refuse`, `chitchat`, `action`;
    None from a Kefu that does not say.
    """

    messages: list[dict[str, Any]]
    decision: str | None


class KefuAnswer(Action):  # type: ignore[misc]  # rasa-sdk has no types
    """Answers with Kefu. Where the domain has these slots, `kefu_answered` says whether Kefu replied, `kefu_decision`
    what it decided, so that a `handoff` can be followed by the assistant's own way to a person.
    """

    def name(self) -> str:
        return "action_kefu_answer"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Any) -> list[dict[str, Any]]:
        text = str((tracker.latest_message or {}).get("text") or "")
        reply = await ask(f"{SENDER_PREFIX}{tracker.sender_id}", text) if text.strip() else None
        for message in reply.messages if reply else [{"text": UNREACHABLE}]:
            dispatcher.utter_message(
                text=message.get("text"),
                image=message.get("image"),
                json_message=message.get("custom"),
                buttons=message.get("buttons"),
            )
        known = (domain or {}).get("slots") or {}
        found = {"kefu_answered": reply is not None, "kefu_decision": reply.decision if reply else None}
        return [SlotSet(name, value) for name, value in found.items() if name in known]


async def ask(sender: str, text: str) -> Reply | None:
    """Kefu's reply, None where there is no answer. What went wrong is logged without the text."""
    url = os.environ.get("KEFU_URL", URL).rstrip("/") + "/webhooks/rest/webhook"
    token = os.environ.get("KEFU_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=float(os.environ.get("KEFU_TIMEOUT_SECONDS", TIMEOUT_SECONDS)))
    body = {"sender": sender, "message": text, "input_channel": "rasa"}
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            session.post(url, json=body, allow_redirects=False) as response,
        ):
            if response.status != 200:
                log.warning("Kefu at %s answers with status %d", url, response.status)
                return None
            if response.content_length is not None and response.content_length > ANSWER_BYTES_MAX:
                log.warning("Kefu at %s answers with %d bytes", url, response.content_length)
                return None
            messages = await response.json(content_type=None)
            decision = response.headers.get(DECISION)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        log.warning("Kefu at %s cannot be asked: %s", url, type(error).__name__)
        return None
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        log.warning("Kefu at %s answers with something else than a list of messages", url)
        return None
    return Reply(messages, decision) if messages else None
