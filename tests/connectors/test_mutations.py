"""Every field of every kind of message in every wrong form: taken, passed over or refused, never a fault of ours."""

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import pytest

from bot.messaging.checking import Detached
from connectors.chatwoot import wire as chatwoot_wire
from connectors.dingtalk import wire as dingtalk_wire
from connectors.errors import ConnectorError
from connectors.feishu import wire as feishu_wire
from connectors.http import json_object
from connectors.rasa import wire as rasa_wire
from connectors.registry import make
from connectors.telegram import wire as telegram_wire
from connectors.webhook import wire as webhook_wire
from tests.servers import chatwoot, dingtalk, feishu, telegram, wecom

GONE = object()
WORDS: list[Any] = ["", "x", "词" * 300]
NUMBERS: list[Any] = [7, -1, 2**70, 1.5, 1e308, True]
VALUES: list[Any] = [*WORDS, *NUMBERS, None, [], [1], [None], [{"a": 1}], {}, {"a": 1}, GONE]


def of_telegram() -> Iterator[dict[str, Any]]:
    platform = telegram.Telegram()
    yield platform.update("u1", "在吗", "5")
    yield platform.update("u1", "/start@x", "6", "g1")
    chat = {"id": 5, "type": "private"}
    yield {"update_id": 9, "callback_query": {"id": "1", "from": {"id": 5, "first_name": "a"}, "data": "2",
                                              "message": {"message_id": 3, "chat": chat}}}  # fmt: skip
    yield {"update_id": 10, "message": {"message_id": 1, "from": {"id": 5}, "chat": chat, "caption": "x",
           "location": {"latitude": 1.0, "longitude": 2.0}, "photo": [{"file_id": "a"}],
           "reply_to_message": {"from": {"username": "x"}}}}  # fmt: skip


def of_chatwoot() -> Iterator[dict[str, Any]]:
    yield chatwoot.Chatwoot().event("u1", "在吗", "5", attachments=[{"file_type": "image"}])


def of_dingtalk() -> Iterator[dict[str, Any]]:
    platform = dingtalk.DingTalk()
    for number, group in ((5, ""), (6, "g1")):
        yield platform.message("u1", "在吗", str(number), group)
    rich = {"richText": [{"text": "a"}, {"downloadCode": "x", "type": "picture"}]}
    yield {**platform.message("u1", "", "7"), "msgtype": "richText", "content": rich}
    yield {**platform.message("u1", "", "8"), "msgtype": "audio", "content": {"recognition": "a"}}


def of_feishu() -> Iterator[dict[str, Any]]:
    platform = feishu.Feishu()
    for number, group in ((5, ""), (6, "g1")):
        yield platform.event("u1", "在吗", str(number), group)
    value, context = {"text": "x", "group": "no"}, {"open_chat_id": "c", "open_message_id": "m"}
    pressed = {"operator": {"open_id": "o"}, "action": {"value": value}, "context": context}
    yield platform.wrapped("card.action.trigger", "8", pressed)


def of_wecom_bot() -> Iterator[dict[str, Any]]:
    platform = wecom.Bot()
    for number, group in ((5, ""), (6, "g1")):
        yield json.loads(platform.question("u1", "在吗", str(number), group))
    parts = [{"msgtype": "text", "text": {"content": "x"}}, {"msgtype": "image", "image": {"url": "u"}}]
    yield {"msgid": "7", "from": {"userid": "u"}, "msgtype": "mixed", "mixed": {"msg_item": parts}}
    yield {"msgid": "9", "from": {"userid": "u"}, "msgtype": "event", "event": {"eventtype": "enter_chat"}}


def of_programs() -> Iterator[dict[str, Any]]:
    yield {"sender": "u1", "text": "在吗", "message": "在吗", "message_id": "5", "metadata": {"nickname": "x"}}


def by_wecom_bot(message: Mapping[str, Any]) -> Any:
    table = {"kind": "wecom_bot", "name": "shop", "token": wecom.TOKEN, "encoding_aes_key": wecom.AES_KEY}
    found = make(table, Detached(None))._inbound(message)  # type: ignore[arg-type, attr-defined]
    return found and found.to_json()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(one, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    made = held = copy.deepcopy(value)
    for key in path[:-1]:
        held = held[key]
    if new is GONE:
        del held[path[-1]]
    else:
        held[path[-1]] = new
    return made


@pytest.mark.parametrize(("messages", "parse"), [
    (of_telegram, telegram_wire.parse),
    (of_chatwoot, lambda message: chatwoot_wire.parse(message, "1")),
    (of_dingtalk, dingtalk_wire.parse),
    (of_feishu, feishu_wire.parse),
    (of_wecom_bot, by_wecom_bot),
    (of_programs, lambda message: webhook_wire.parse(json.dumps(message).encode())),
    (of_programs, lambda message: rasa_wire.parse(json.dumps(message).encode())),
])  # fmt: skip
def test_no_form_of_a_message_is_a_fault_of_ours(
    messages: Callable[[], Iterator[dict[str, Any]]], parse: Callable[[Any], Any]
) -> None:
    tried = 0
    for message in messages():
        assert parse(message) is not None
        for path in places(message):
            for value in VALUES:
                tried += 1
                try:
                    found = parse(changed(message, path, value))
                except ConnectorError as error:
                    assert error.status < 500  # noqa: PT017 - most are taken
                else:
                    json.dumps(found if isinstance(found, dict) or found is None else asdict(found), allow_nan=False)
    assert tried > 50


@pytest.mark.parametrize("body", [b'{"a": NaN}', b'{"a": [Infinity]}', b'{"a": -Infinity}'])
def test_what_only_python_calls_a_number_is_no_json(body: bytes) -> None:
    with pytest.raises(ConnectorError):
        json_object(body)
