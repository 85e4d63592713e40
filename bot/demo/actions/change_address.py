"""A change of the delivery address: before the order is sent, once, and confirmed before it is booked."""

import asyncio
import logging
import re
import sqlite3
from typing import Any

from rasa_sdk import Action, FormValidationAction, Tracker
from rasa_sdk.events import SlotSet
from rasa_sdk.executor import CollectingDispatcher

from .order_status import describe, misread
from .shop import booked, books, database_path, find_order, order_numbers, say, unavailable

logger = logging.getLogger(__name__)

NOT_YET_SENT = ("待付款", "待发货")
PLACE = re.compile(r"[省市区县镇乡村路街道巷弄园苑号栋幢座室楼]|\d|road|street|st\.|ave", re.IGNORECASE)
FORGOTTEN = ("order_number", "new_address", "address_confirmed")


class ValidateChangeAddressForm(FormValidationAction):
    """Checks what the customer gives against the shop's database."""

    def name(self) -> str:
        return "validate_change_address_form"

    async def validate_order_number(
        self,
        value: Any,
        dispatcher: CollectingDispatcher,
        tracker: Tracker,
        domain: Any,  # noqa: ARG002
    ) -> dict[str, Any]:
        number, problem = await asyncio.to_thread(check_order, tracker, str(value), NOT_YET_SENT, "address_changes")
        if problem:
            dispatcher.utter_message(text=problem)
        # Another order's confirmation is none of this one's.
        return {"order_number": number, "address_confirmed": None}

    async def validate_new_address(
        self,
        value: Any,
        dispatcher: CollectingDispatcher,
        tracker: Tracker,
        domain: Any,  # noqa: ARG002
    ) -> dict[str, Any]:
        address = str(value).strip(" ，,。.!！")
        if len(address) < 6 or not PLACE.search(address):
            dispatcher.utter_message(
                text=say(
                    tracker,
                    "这个地址不够完整，请写到省市区、街道和门牌号，例如「浙江省嘉兴市南湖区中山东路 100 号 502 室」。",
                    "This address is not complete. Please give the city, district, street and house number.",
                )
            )
            return {"new_address": None}
        return {"new_address": address, "address_confirmed": None}

    async def validate_address_confirmed(
        self,
        value: Any,
        dispatcher: CollectingDispatcher,
        tracker: Tracker,
        domain: Any,  # noqa: ARG002
    ) -> dict[str, Any]:
        if value:
            return {"address_confirmed": True}
        dispatcher.utter_message(text=say(tracker, "好的，先不改。", "All right, nothing is changed yet."))
        return {"address_confirmed": None, "new_address": None}


class ChangeAddress(Action):
    """Books the new address once the form is complete, and offers to take it back."""

    def name(self) -> str:
        return "action_change_address"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Any) -> list[dict[str, Any]]:  # noqa: ARG002
        number, address = str(tracker.get_slot("order_number")), str(tracker.get_slot("new_address"))
        try:
            await asyncio.to_thread(_book, number, address)
        except sqlite3.Error as error:
            logger.warning("the order database cannot be written: %s", error)
            dispatcher.utter_message(text=unavailable(tracker))
        else:
            dispatcher.utter_message(
                text=say(
                    tracker,
                    f"改好了：订单 {number} 会寄到「{address}」。",
                    f"Done: order {number} will be sent to “{address}”.",
                ),
                buttons=[
                    {
                        "title": say(tracker, "撤销这次修改", "Undo this change"),
                        "payload": f'/undo_address_change{{"order_number": "{number}"}}',
                    }
                ],
            )
        return [SlotSet(slot, None) for slot in FORGOTTEN]


class UndoAddressChange(Action):
    """Takes a booked change back."""

    def name(self) -> str:
        return "action_undo_address_change"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Any) -> list[dict[str, Any]]:  # noqa: ARG002
        number = next(tracker.get_latest_entity_values("order_number"), "")
        try:
            undone = await asyncio.to_thread(_undo, str(number))
        except sqlite3.Error as error:
            logger.warning("the order database cannot be written: %s", error)
            dispatcher.utter_message(text=unavailable(tracker))
            return []
        zh = f"已撤销，订单 {number} 仍寄到原来的地址。" if undone else "没有可以撤销的地址修改。"
        en = f"Undone: order {number} goes to its first address." if undone else "There is no change to take back."
        dispatcher.utter_message(text=say(tracker, zh, en))
        return []


def check_order(tracker: Tracker, said: str, statuses: tuple[str, ...], table: str) -> tuple[str | None, str]:
    """The order number that `said` holds where it may be worked on, else None and what to tell the customer."""
    numbers = order_numbers(said)
    if not numbers:
        wrong = misread(said, asked=True) or said
        return None, say(
            tracker,
            f"「{wrong}」不是本店的订单号。订单号以 QS 开头，后面是 11 位数字，例如 QS20260105002。",
            f"“{wrong}” is no order number of ours. They look like QS20260105002: QS and 11 digits.",
        )
    number = numbers[-1]
    try:
        order = find_order(database_path(), number)
        done = order is not None and booked(table, number)
    except sqlite3.Error as error:
        logger.warning("the order database cannot be used: %s", error)
        return None, unavailable(tracker)
    if order is None:
        return None, say(tracker, describe(number, None), f"There is no order {number}. Please check the number.")
    if done:
        zh = "已经改过一次地址，不能再改了" if table == "address_changes" else "已经提交过退货申请了"
        en = "has had its one change of address" if table == "address_changes" else "already has a return request"
        return None, say(tracker, f"订单 {number} {zh}。", f"Order {number} {en}.")
    if order["status"] not in statuses:
        status = order["status"]
        zh = "发货前才能改地址；已发货的请联系快递改派" if table == "address_changes" else "签收以后才能申请退货"
        en = (
            "only before it is sent can the address be changed"
            if table == "address_changes"
            else "a return can be requested once it has been delivered"
        )
        return None, say(tracker, f"订单 {number} 现在是「{status}」，{zh}。", f"Order {number} is “{status}”: {en}.")
    return number, ""


def _book(number: str, address: str) -> None:
    with books() as connection:
        connection.execute("INSERT INTO address_changes VALUES (?, ?)", (number, address))


def _undo(number: str) -> bool:
    with books() as connection:
        return connection.execute("DELETE FROM address_changes WHERE order_number = ?", (number,)).rowcount > 0
