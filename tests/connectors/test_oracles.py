"""The platforms' own SDKs as oracles: of our signatures, ciphers and frames, and of the stand-ins that we test against.

They are no part of Kefu: `pip install 'kefu[oracles]'` brings them, and what is not installed is skipped.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.crypto import MessageCrypt, is_signed
from connectors.dingtalk import wire as dingtalk_wire
from connectors.feishu import frames
from connectors.feishu import wire as feishu_wire
from connectors.feishu.frames import Frame
from connectors.telegram import wire as telegram_wire
from connectors.webhook import wire as webhook_wire
from tests.servers import dingtalk, feishu, telegram, webhook

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs
AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"


def oracle(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} is not installed: pip install 'kefu[oracles]'")


@pytest.mark.parametrize("text", ["", "x", "你好，退货", "<xml>" + "长" * 5000 + "</xml>", "a" * 27, "a" * 28])
def test_wechatpy_opens_what_we_encrypt_and_we_what_it_does(text: str) -> None:
    crypto = oracle("wechatpy.crypto").WeChatCrypto("token", AES_KEY, "wx1")
    ours = MessageCrypt("token", AES_KEY, "wx1")
    encrypted = ours.encrypt(text.encode())
    signature = ours.sign(encrypted, "1700000000", "nonce")
    if text:  # theirs cannot tell an empty one from a broken one
        opened = crypto.decrypt_message({"Encrypt": encrypted}, signature, "1700000000", "nonce")
        assert opened == text
    made = crypto.encrypt_message(text, "nonce", "1700000000")
    found = oracle("xmltodict").parse(made)["xml"]
    assert ours.open(found["Encrypt"], found["MsgSignature"], "1700000000", "nonce").decode() == text


def test_wechatpy_signs_as_we_do() -> None:
    signer = oracle("wechatpy.utils").WeChatSigner()
    signer.add_data("token", "1700000000", "nonce")
    assert is_signed(signer.signature, "token", "1700000000", "nonce")


def test_standard_webhooks_verifies_ours_and_we_verify_its() -> None:
    theirs = oracle("standardwebhooks").Webhook(webhook.SECRET)
    body, now = json.dumps({"text": "你好 & <x>"}, ensure_ascii=False).encode(), int(time.time())
    key = webhook_wire.key_of(webhook.SECRET)
    ours = {
        "webhook-id": "m1",
        "webhook-timestamp": str(now),
        "webhook-signature": webhook_wire.sign(key, "m1", now, body),
    }
    assert theirs.verify(body, ours) == {"text": "你好 & <x>"}
    signed = theirs.sign("m2", datetime.fromtimestamp(now, tz=UTC), body.decode())
    given = {"webhook-id": "m2", "webhook-timestamp": str(now), "webhook-signature": signed}
    assert webhook_wire.verify(key, given, body, now) == "m2"


@pytest.fixture
async def dingtalk_fake() -> AsyncIterator[dingtalk.DingTalk]:
    made = dingtalk.DingTalk()
    made.base = await made.start()
    yield made
    await made.stop()


async def test_dingtalks_sdk_takes_our_stand_ins_messages_and_both_acknowledge_alike(
    dingtalk_fake: dingtalk.DingTalk, monkeypatch: pytest.MonkeyPatch
) -> None:
    sdk = oracle("dingtalk_stream")
    stream = oracle("dingtalk_stream.stream")
    monkeypatch.setattr(
        stream.DingTalkStreamClient, "OPEN_CONNECTION_API", dingtalk_fake.base + "/v1.0/gateway/connections/open"
    )
    client = sdk.DingTalkStreamClient(sdk.Credential(dingtalk.CLIENT_ID, dingtalk.CLIENT_SECRET))
    monkeypatch.setattr(client, "get_host_ip", lambda: "127.0.0.1")
    said: list[Any] = []

    class Handler(sdk.ChatbotHandler):  # type: ignore[misc]
        async def process(self, callback: Any) -> tuple[int, str]:
            said.append(sdk.ChatbotMessage.from_dict(callback.data))
            return sdk.AckMessage.STATUS_OK, "OK"

    client.register_callback_handler(sdk.ChatbotMessage.TOPIC, Handler())
    assert sdk.ChatbotMessage.TOPIC == dingtalk_wire.BOT_MESSAGES
    opened = await asyncio.to_thread(client.open_connection)
    assert opened["ticket"] in dingtalk_fake.tickets
    sent: list[str] = []

    class Socket:
        async def send(self, text: str) -> None:
            sent.append(text)

    client.websocket = Socket()
    message = dingtalk_fake.message("u1", "怎么退货", "m1")
    frame = {
        "specVersion": "1.0", "type": "CALLBACK", "data": json.dumps(message),
        "headers": {"messageId": "f-1", "topic": dingtalk_wire.BOT_MESSAGES, "contentType": "application/json"},
    }  # fmt: skip
    await client.route_message(frame)
    (read,) = said
    ours = dingtalk_wire.parse(message)
    assert ours is not None
    assert (read.text.content.strip(), read.sender_staff_id, read.message_id) == (ours.text, ours.user, ours.key)
    assert read.session_webhook == ours.address["webhook"]
    theirs = json.loads(sent[0])
    acknowledged = dingtalk_wire.ack(frame["headers"], json.dumps({"response": None}))  # type: ignore[arg-type]
    assert theirs["headers"] == acknowledged["headers"]
    assert theirs["code"] == acknowledged["code"] == 200
    assert json.loads(theirs["data"]).keys() == json.loads(acknowledged["data"]).keys()


async def test_dingtalks_sdk_writes_into_our_stand_ins_cards(
    dingtalk_fake: dingtalk.DingTalk, monkeypatch: pytest.MonkeyPatch
) -> None:
    sdk, cards = oracle("dingtalk_stream"), oracle("dingtalk_stream.card_replier")
    monkeypatch.setattr(cards, "DINGTALK_OPENAPI_ENDPOINT", dingtalk_fake.base)
    dingtalk_fake.token = "t"

    class Client:
        credential = sdk.Credential(dingtalk.CLIENT_ID, dingtalk.CLIENT_SECRET)

        def get_access_token(self) -> str:
            return "t"

    for group in ("", "g1"):
        message = sdk.ChatbotMessage.from_dict(dingtalk_fake.message("u1", "怎么退货", "m1", group))
        replier = cards.AICardReplier(Client(), message)
        id_ = await replier.async_create_and_deliver_card(dingtalk.TEMPLATE, {})
        await replier.async_streaming(id_, "content", "您可以", append=False, finished=False, failed=False)
        await replier.async_streaming(id_, "content", "您可以退货", append=False, finished=True, failed=False)
        assert dingtalk_fake.cards[id_].shown == ["您可以", "您可以退货"]
    assert dingtalk_fake.got == [("u1", "您可以退货"), ("g1", "您可以退货")]


def test_feishus_sdk_reads_our_frames_and_we_its() -> None:
    pb = oracle("lark_oapi.ws.pb.pbbp2_pb2")
    for payload in (b"", b'{"a": "\xe4\xbd\xa0"}', bytes(range(256)) * 40):
        theirs = pb.Frame()
        theirs.SeqID, theirs.LogID, theirs.service, theirs.method = 7, 2**64 - 1, 33554678, 1
        theirs.payload, theirs.payload_encoding, theirs.payload_type, theirs.LogIDNew = payload, "", "json", "log"
        for key, value in (("type", "event"), ("message_id", "消息"), ("sum", "1")):
            header = theirs.headers.add()
            header.key, header.value = key, value
        read = frames.decode(theirs.SerializeToString())
        assert (read.seq_id, read.log_id, read.service, read.method) == (7, 2**64 - 1, 33554678, 1)
        assert (read.payload, read.headers) == (payload, {"type": "event", "message_id": "消息", "sum": "1"})
        back = pb.Frame()
        back.ParseFromString(frames.encode(read))
        assert (back.SeqID, back.LogID, back.service, back.method) == (7, 2**64 - 1, 33554678, 1)
        assert {one.key: one.value for one in back.headers} == read.headers
        assert back.payload == payload
    ping = pb.Frame()
    ping.ParseFromString(frames.encode(Frame(frames.CONTROL, 5, {"type": "ping"})))
    assert ping.SerializeToString() == oracle("lark_oapi.ws.client")._new_ping_frame(5).SerializeToString()


@pytest.mark.parametrize("encrypted", [True, False])
def test_feishus_sdk_opens_our_stand_ins_events(encrypted: bool) -> None:
    lark, models = oracle("lark_oapi"), oracle("lark_oapi.core.model")
    said: list[Any] = []
    key = feishu.ENCRYPT_KEY if encrypted else ""
    handler = (
        lark.EventDispatcherHandler.builder(key, feishu.TOKEN).register_p2_im_message_receive_v1(said.append).build()
    )
    fake = feishu.Feishu(encrypted=encrypted)
    event = fake.event("u1", "怎么退货", "9", "g1")
    headers, body = fake.signed(event)
    request = models.RawRequest()
    request.uri, request.body, request.headers = "/", body, headers
    assert handler.do(request).status_code == 200
    (read,) = said
    ours = feishu_wire.parse(feishu_wire.open_event(body, headers, feishu.TOKEN, key or None))
    assert ours is not None
    assert (read.event.message.message_id, read.event.sender.sender_id.open_id) == (ours.message_id, ours.user)
    assert [one.id.open_id for one in read.event.message.mentions] == list(ours.mentions)
    request.body = body.replace(b'"', b'" ', 1)
    assert handler.do(request).status_code != 200 or not encrypted


async def test_feishus_sdk_makes_our_stand_ins_cards() -> None:
    lark, kit = oracle("lark_oapi"), oracle("lark_oapi.api.cardkit.v1")
    fake = feishu.Feishu()
    base = await fake.start()
    client = lark.Client.builder().app_id(feishu.APP_ID).app_secret(feishu.APP_SECRET).domain(base).build()

    def write() -> None:
        data = json.dumps(feishu_wire.streaming_card("您"))
        body = kit.CreateCardRequestBody.builder().type("card_json").data(data).build()
        made = client.cardkit.v1.card.create(kit.CreateCardRequest.builder().request_body(body).build())
        assert made.success(), made.msg
        words = kit.ContentCardElementRequestBody.builder().uuid("a").content("您可以退货").sequence(1).build()
        request = kit.ContentCardElementRequest.builder().card_id(made.data.card_id).element_id(feishu_wire.ELEMENT)
        assert client.cardkit.v1.card_element.content(request.request_body(words).build()).success()
        settings = kit.SettingsCardRequestBody.builder().settings('{"config": {"streaming_mode": false}}')
        closing = kit.SettingsCardRequest.builder().card_id(made.data.card_id)
        closed = closing.request_body(settings.uuid("b").sequence(2).build()).build()
        assert client.cardkit.v1.card.settings(closed).success()
        late = words.builder().uuid("c").content("还有").sequence(3).build()
        assert not client.cardkit.v1.card_element.content(request.request_body(late).build()).success()

    await asyncio.to_thread(write)
    await fake.stop()
    (card,) = fake.cards.values()
    assert (card.shown, card.finished) == (["您", "您可以退货"], True)


async def test_telegrams_python_client_works_with_our_stand_in() -> None:
    api = oracle("telegram")
    fake = telegram.Telegram()
    base = await fake.start()
    update = fake.update("u1", "怎么退货", "7", group="g1")
    fake.put(update)
    async with api.Bot(telegram.BOT_TOKEN, base_url=f"{base}/bot") as bot:
        assert (await bot.get_me()).username == telegram.NAME
        (read,) = await bot.get_updates(timeout=1)
        ours = telegram_wire.parse(update, telegram.NAME)
        assert ours is not None
        assert (str(read.update_id), str(read.effective_user.id), str(read.effective_chat.id)) == (
            ours.key, ours.user, ours.chat
        )  # fmt: skip
        sent = await bot.send_message(read.effective_chat.id, "您可以退货")
        assert sent.text == "您可以退货"
    await fake.stop()
    assert fake.got == [(str(telegram.number("g1")), "您可以退货")]
