"""Messages of channels whose customer is forgotten while they wait: nothing is answered, nothing opened anew."""

import asyncio

from bot.errors import UnavailableError
from bot.messaging.answering import Answering
from bot.messaging.store import Store
from bot.metrics import Metrics
from bot.storage import messaging, passing
from bot.storage.passing import Arrival, Received
from bot.storage.values import now
from connectors.cards import PER_MESSAGE
from connectors.channel import Channel
from connectors.types import Conversation, Inbound, Outbound


class Plain(Channel):
    kind = "plain"

    def render(self, address, reply):
        return [{**address, "text": reply.text}]


def said(text, user="u1"):
    return Inbound(Conversation("shop", user, "plain"), text, message_id=text).to_json()


async def test_who_is_forgotten_while_an_answer_is_stopped_is_not_answered_again(database):
    channel, asked, stopped = Plain("shop", {}, None), [], asyncio.Event()
    store = Store(database, Metrics())

    async def replies(inbound, _wrote):
        asked.append(inbound.text)
        if inbound.text == "在吗" and not stopped.is_set():
            async with database.session() as session:
                await messaging.forget_recipients(session, ["c1"])
            stopped.set()
            raise UnavailableError("stopped", "停", "stopped")
        return [Outbound("在的")]

    arrivals = [
        Arrival(channel.id, text, recipient, said(text))
        for text, recipient in (("在吗", "c1"), ("人呢", "c1"), ("你好", "c2"))
    ]
    woken = asyncio.Event()
    answering = Answering(store, lambda _id: channel, replies, lambda _id: woken.set())
    works = []
    for one in arrivals:
        seq = await store.receive(one)
        answering.begin(Received(seq, one.channel, one.key, one.recipient, one.inbound, 0, now()))
        works.append(answering.under_way(one.channel, one.key))
    async with asyncio.timeout(20):
        await asyncio.gather(*[work.done.wait() for work in works])
    assert sorted(asked) == ["你好", "在吗"]
    assert woken.is_set()
    assert [one.recipient for one in await store.claim(channel.id, 9)] == ["c2"]
    await answering.close()


async def test_what_a_channel_remembers_of_a_message_is_forgotten_with_its_customer(database):
    channel, store = Plain("shop", {}, None), Store(database, Metrics())
    for text, recipient in (("在吗", "c1"), ("你好", "c2")):
        await store.receive(Arrival(channel.id, text, recipient, said(text)))
        await database.write(lambda it, key=PER_MESSAGE + text: passing.remember(it, channel.id, key, "的答复"))
    async with database.session() as session:
        await messaging.forget_recipients(session, ["c1"])
    known = [await database.read(lambda it, text=text: passing.recall(it, channel.id, PER_MESSAGE + text))
             for text in ("在吗", "你好")]  # fmt: skip
    assert known == [None, "的答复"]
