"""Order status, as the shop itself would write it: a rasa-sdk action over its order database.

It tells whoever knows an order number where that order is, and nothing about who bought it.
"""

import asyncio
import logging
import re
import sqlite3
from datetime import date
from typing import Any

from rasa_sdk import Action, Tracker
from rasa_sdk.events import ActiveLoop, SlotSet
from rasa_sdk.executor import CollectingDispatcher
from rasa_sdk.interfaces import ActionExecutionRejection

from .shop import HOTLINE, database_path, find_order, order_numbers, plain

logger = logging.getLogger(__name__)

OUR_LETTERS = re.compile(r"(?<![A-Z0-9])QS[\s-]*\d(?:[\s-]?\d)*")
# Letters of somebody else's with many digits: another shop's order, or a courier's tracking number.
OTHER_LETTERS = re.compile(r"(?<![A-Z0-9])[A-Z]{1,5}[\s-]?\d(?:-?\d){7,}(?![A-Z0-9])")
DIGITS_ALONE = re.compile(r"\W*(\d(?:[\s-]?\d){3,})\W*")
NO_NUMBER_AT_HAND = re.compile(
    r"(?:没有?|不知道|不记得|忘了|忘记|找不到|看不到)(?:我的)?(?:订单号|单号)"
    r"|(?:订单号|单号).{0,6}(?:哪|没|不|忘|丢)"
    r"|^我?(?:没有|不知道|不记得|忘了|忘记了?|找不到)\W*$"
)
ORDERS_AT_ONCE_MAX = 3

NEXT_STEP = {
    "待付款": "提交后请在 30 分钟内付款，超时会自动取消。",
    "待发货": "仓库正在备货，发出后会短信通知您快递单号。",
    "已签收": "如果您没有收到，请在显示签收后 72 小时内联系客服。",
    "已取消": "已付的货款会在 1 个工作日内原路退回。",
    "退款中": "仓库验收后 3 个工作日内原路退款。",
}
WHAT_IT_LOOKS_LIKE = "订单号以 QS 开头，后面是 11 位数字，例如 QS20260103001"
ASK = f"请把订单号发给我，我马上为您查询。{WHAT_IT_LOOKS_LIKE}。"
ASK_AGAIN = f"有了订单号才能查到您的订单：{WHAT_IT_LOOKS_LIKE}。在「我的 → 全部订单」的订单详情里可以复制。"
WHERE_TO_FIND = f"订单号在「我的 → 全部订单」的订单详情最上方，下单成功的短信里也有。实在找不到，请拨打 {HOTLINE}。"
UNAVAILABLE = f"抱歉，订单查询暂时用不了，请稍后再试，或拨打 {HOTLINE}。"


def misread(text: str, *, asked: bool) -> str | None:
    """What in `text` was meant as an order number and is none of the shop's; None where nothing was.

    Digits alone are meant as one only where the number was `asked` for.
    """
    narrow = plain(text)
    found = OUR_LETTERS.search(narrow) or OTHER_LETTERS.search(narrow)
    if found:
        return found.group(0).strip()
    alone = DIGITS_ALONE.fullmatch(narrow) if asked else None
    return alone.group(1) if alone else None


def _not_ours(said: str, *, again: bool) -> str:
    """What the customer reads about a number that is no order number of the shop."""
    digits = sum(c.isdigit() for c in said)
    wrong = f"QS 后面有 {digits} 位数字" if said.startswith("QS") else "不是以 QS 开头加 11 位数字"
    if again:
        return f"「{said}」也查不了：{wrong}。{WHERE_TO_FIND}"
    if said.startswith("QS"):
        return f"订单号「{said}」的位数不对：{wrong}，应该是 11 位，例如 QS20260103001。请核对后再发给我。"
    return f"「{said}」不是本店的订单号。本店的{WHAT_IT_LOOKS_LIKE}。请核对后再发给我。"


def describe(order_number: str, order: sqlite3.Row | None) -> str:
    """What the customer reads about one order."""
    if order is None:
        return f"没有查到订单 {order_number}，请核对订单号；刚刚提交的订单可能要等几分钟才能查到。"
    status = str(order["status"])
    parts = [f"订单 {order_number} 的状态：**{status}**。"]
    if order["courier"]:
        parts.append(f"由{order['courier']}承运，运单号 {order['tracking_number']}。")
    if order["expected_on"] and status != "已签收":
        day = date.fromisoformat(order["expected_on"])
        parts.append(f"预计 {day.month} 月 {day.day} 日送达。")
    parts.append(NEXT_STEP.get(status, ""))
    return "".join(parts)


class OrderStatus(Action):
    """Answers 「我的订单到哪了」; asks for the order number where neither the message nor the conversation has one."""

    def name(self) -> str:
        return "action_order_status"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Any) -> list[dict[str, Any]]:  # noqa: ARG002
        text = str(tracker.latest_message.get("text") or "")
        asked = (tracker.active_loop or {}).get("name") == self.name()
        numbers, wrong = order_numbers(text), misread(text, asked=asked)
        # A number in the message is newer than the one remembered from an earlier turn.
        if not numbers and not asked and wrong is None:
            numbers = order_numbers(str(tracker.get_slot("order_number") or ""))
        if numbers:
            return await self._report(dispatcher, numbers[:ORDERS_AT_ONCE_MAX])
        if asked and wrong is None:
            if not NO_NUMBER_AT_HAND.search(text):
                # The customer has moved on to something else: the message is no answer to the question for a number.
                raise ActionExecutionRejection(self.name())
            dispatcher.utter_message(text=WHERE_TO_FIND)
            return [SlotSet("order_number", None), ActiveLoop(None)]
        # The same sentence twice says that nobody listens: what was asked last is remembered, and said in other words.
        prompt = "ask" if wrong is None else "misread"
        again = tracker.get_slot("order_number_prompt") == prompt
        dispatcher.utter_message(text=(ASK_AGAIN if again else ASK) if wrong is None else _not_ours(wrong, again=again))
        return [SlotSet("order_number", None), SlotSet("order_number_prompt", prompt), ActiveLoop(self.name())]

    async def _report(self, dispatcher: CollectingDispatcher, numbers: list[str]) -> list[dict[str, Any]]:
        path = database_path()
        try:
            orders = [await asyncio.to_thread(find_order, path, number) for number in numbers]
        except sqlite3.Error as error:
            logger.warning("the order database %s cannot be read: %s", path, error)
            dispatcher.utter_message(text=UNAVAILABLE)
            return [SlotSet("order_number", numbers[-1]), ActiveLoop(None)]
        for number, order in zip(numbers, orders, strict=True):
            dispatcher.utter_message(text=describe(number, order))
        known = [number for number, order in zip(numbers, orders, strict=True) if order is not None]
        answered = SlotSet("order_number_prompt", None)
        # A number that is not in the books is not remembered; the loop stays open for the corrected one.
        if not known:
            return [SlotSet("order_number", None), answered, ActiveLoop(self.name())]
        return [SlotSet("order_number", known[-1]), answered, ActiveLoop(None)]
