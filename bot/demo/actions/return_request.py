"""A return request in three slots: the order, the reason, and when the courier is to come. It can be taken back."""

import asyncio
import logging
import sqlite3
from datetime import datetime, timedelta
from typing import Any

from rasa_sdk import Action, FormValidationAction, Tracker
from rasa_sdk.events import SlotSet
from rasa_sdk.executor import CollectingDispatcher

from .change_address import check_order
from .shop import books, say, unavailable

logger = logging.getLogger(__name__)

DELIVERED = ("已签收",)
DAYS_AHEAD_MAX = 30
FORGOTTEN = ("order_number", "return_reason", "pickup_time", "pickup_words")


class ValidateReturnForm(FormValidationAction):
    """Checks what the customer gives against the shop's database and the calendar."""

    def name(self) -> str:
        return "validate_return_form"

    async def validate_order_number(
        self,
        value: Any,
        dispatcher: CollectingDispatcher,
        tracker: Tracker,
        domain: Any,  # noqa: ARG002
    ) -> dict[str, Any]:
        number, problem = await asyncio.to_thread(check_order, tracker, str(value), DELIVERED, "return_requests")
        if problem:
            dispatcher.utter_message(text=problem)
        return {"order_number": number}

    async def validate_return_reason(
        self,
        value: Any,
        dispatcher: CollectingDispatcher,
        tracker: Tracker,
        domain: Any,  # noqa: ARG002
    ) -> dict[str, Any]:
        reason = str(value).strip(" ，,。.!！")
        if len(reason) < 2:
            dispatcher.utter_message(text=say(tracker, "请说得具体一点。", "Please say a little more."))
            return {"return_reason": None}
        return {"return_reason": reason[:200]}

    async def validate_pickup_time(
        self,
        value: Any,
        dispatcher: CollectingDispatcher,
        tracker: Tracker,
        domain: Any,  # noqa: ARG002
    ) -> dict[str, Any]:
        when, until = _moment(tracker, str(value))
        now = datetime.now(when.tzinfo if when else None)
        if when is None or (until or when).date() < now.date() or when > now + timedelta(days=DAYS_AHEAD_MAX):
            dispatcher.utter_message(
                text=say(
                    tracker,
                    f"这个时间约不了，请选今天起 {DAYS_AHEAD_MAX} 天以内的一天。",
                    f"That day cannot be booked; please choose one within {DAYS_AHEAD_MAX} days.",
                )
            )
            return {"pickup_time": None}
        return {"pickup_time": value, "pickup_words": _words(tracker, when, until)}


class RequestReturn(Action):
    """Books the request once the form is complete, and offers to take it back."""

    def name(self) -> str:
        return "action_request_return"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Any) -> list[dict[str, Any]]:  # noqa: ARG002
        number, reason = str(tracker.get_slot("order_number")), str(tracker.get_slot("return_reason"))
        pickup = str(tracker.get_slot("pickup_words"))
        try:
            await asyncio.to_thread(_book, number, reason, str(tracker.get_slot("pickup_time")))
        except sqlite3.Error as error:
            logger.warning("the order database cannot be written: %s", error)
            dispatcher.utter_message(text=unavailable(tracker))
        else:
            dispatcher.utter_message(
                text=say(
                    tracker,
                    f"退货申请已提交：订单 {number}，原因「{reason}」，{pickup}上门取件。"
                    "24 小时内审核，结果会短信通知您。",
                    f"Your return is requested: order {number}, reason “{reason}”, pick-up {pickup}. "
                    "We review it within 24 hours and tell you by text message.",
                ),
                buttons=[
                    {
                        "title": say(tracker, "撤销退货申请", "Withdraw the return"),
                        "payload": f'/undo_return{{"order_number": "{number}"}}',
                    }
                ],
            )
        return [SlotSet(slot, None) for slot in FORGOTTEN]


class UndoReturn(Action):
    """Takes a return request back."""

    def name(self) -> str:
        return "action_undo_return"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Any) -> list[dict[str, Any]]:  # noqa: ARG002
        number = next(tracker.get_latest_entity_values("order_number"), "")
        try:
            undone = await asyncio.to_thread(_undo, str(number))
        except sqlite3.Error as error:
            logger.warning("the order database cannot be written: %s", error)
            dispatcher.utter_message(text=unavailable(tracker))
            return []
        zh = f"已撤销订单 {number} 的退货申请。" if undone else "没有可以撤销的退货申请。"
        en = f"The return of order {number} is withdrawn." if undone else "There is no return request to withdraw."
        dispatcher.utter_message(text=say(tracker, zh, en))
        return []


def _moment(tracker: Tracker, value: str) -> tuple[datetime | None, datetime | None]:
    """The time, and its end where a part of a day was named (「后天下午」)."""
    until = next(
        (
            (entity.get("additional_info") or {}).get("to")
            for entity in tracker.latest_message.get("entities") or []
            if entity.get("entity") == "time" and entity.get("value") == value
        ),
        None,
    )
    try:
        return datetime.fromisoformat(value), datetime.fromisoformat(until) if until else None
    except ValueError:
        return None, None


def _words(tracker: Tracker, when: datetime, until: datetime | None) -> str:
    hours = "" if when.hour == when.minute == 0 else f" {when:%H:%M}" + (f"–{until:%H:%M}" if until else "")
    return say(tracker, f"{when.month} 月 {when.day} 日{hours}", f"{when:%b} {when.day}{hours}")


def _book(number: str, reason: str, pickup: str) -> None:
    with books() as connection:
        connection.execute("INSERT INTO return_requests VALUES (?, ?, ?)", (number, reason, pickup))


def _undo(number: str) -> bool:
    with books() as connection:
        return connection.execute("DELETE FROM return_requests WHERE order_number = ?", (number,)).rowcount > 0
