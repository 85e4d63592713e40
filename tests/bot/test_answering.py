"""Messages of channels whose customer is forgotten while they wait: nothing is answered, nothing opened anew."""

import asyncio

from bot.errors import UnavailableError
from bot.messaging.answering import Answering
from bot.messaging.room import MOST
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
        answering.begin(Received(seq, one.channel, one.key, one.recipient, 0, now()))
        works.append(answering.under_way(one.channel, one.key))
    async with asyncio.timeout(20):
        await asyncio.gather(*[work.over() for work in works])
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


async def test_thousands_that_wait_cost_no_tasks_and_keep_their_conversations_order(database):
    channel, store, gate = Plain("shop", {}, None), Store(database, Metrics()), asyncio.Event()
    heard = {}

    async def replies(inbound, _wrote):
        heard.setdefault(inbound.conversation.user, []).append(inbound.text)
        if inbound.text == "0" and len(heard[inbound.conversation.user]) == 1:
            await gate.wait()
            raise UnavailableError("busy", "忙", "busy")  # the next of the same conversation must not overtake it
        return [Outbound("好")]

    answering = Answering(store, lambda _id: channel, replies, lambda _id: None)
    people, each = 200, 5
    for number in range(each):
        for person in range(people):
            one = Arrival(channel.id, f"{person}-{number}", f"c{person}", said(str(number), f"u{person}"))
            seq = await store.receive(one)
            answering.begin(Received(seq, one.channel, one.key, one.recipient, 0, now()))
    works = list(answering._under_way.values())
    assert len(works) == people * each
    assert len([task for task in asyncio.all_tasks() if task.get_name().startswith("answer ")]) <= MOST
    gate.set()
    async with asyncio.timeout(60):
        await asyncio.gather(*[work.over() for work in works])
    assert all(texts == ["0", *map(str, range(each))] for texts in heard.values())
    assert await database.read(passing.unanswered) == []
    assert (answering._lines, answering._under_way) == ({}, {})
    await answering.close()
