"""How many messages of channels are answered at once."""

import asyncio

from bot.messaging.room import LEAST, MOST, Room


class Looks:
    """Looks that end when they are told how late the loop is."""

    def __init__(self):
        self.said = asyncio.Queue()
        self.asked = asyncio.Event()

    async def __call__(self):
        self.asked.set()
        return await self.said.get()

    async def say(self, *seconds):
        for each in seconds:
            await asyncio.wait_for(self.asked.wait(), 20)
            self.asked.clear()
            self.said.put_nowait(each)
        await asyncio.wait_for(self.asked.wait(), 20)


class Crowd:
    """Answers that stay until they are let go."""

    def __init__(self, room):
        self.room, self.inside, self.go, self.order = room, 0, asyncio.Semaphore(0), []

    async def answer(self, number):
        await self.room.entered()
        try:
            self.inside += 1
            self.order.append(number)
            await self.go.acquire()
            self.inside -= 1
        finally:
            self.room.leave()

    async def let_go(self, count):
        for _ in range(count):
            self.go.release()
        for _ in range(20 * count):
            await asyncio.sleep(0)


async def test_few_are_answered_at_once_while_messages_arrive_and_the_loop_is_late():
    looks = Looks()
    room = Room(looks)
    crowd = Crowd(room)
    tasks = [asyncio.create_task(crowd.answer(number)) for number in range(3 * MOST)]
    await looks.say(0.0)
    assert crowd.inside == MOST
    for _ in range(10):
        room.arrived()
        await looks.say(0.2)
    assert room.size == LEAST
    await crowd.let_go(MOST - LEAST)
    assert crowd.inside == LEAST  # nobody came in for those who left
    await crowd.let_go(2)
    assert crowd.inside == LEAST  # now each is followed by one
    await looks.say(0.2, 0.2)  # late, but nobody outside waits: it is not for us to slow down
    assert room.size == LEAST + 2
    assert crowd.inside == LEAST + 2
    room.arrived()
    await looks.say(0.0)  # somebody waits, and is served in time
    assert room.size == LEAST + 3
    await crowd.let_go(3 * MOST)
    await looks.say(*[0.0] * (MOST - room.size - 1))
    looks.said.put_nowait(0.0)  # back at its size with nobody in, it looks no more
    await asyncio.wait_for(asyncio.gather(*tasks), 20)
    assert crowd.order == list(range(3 * MOST))
    await room.close()


async def test_whoever_gives_up_waiting_takes_no_place():
    looks = Looks()
    room = Room(looks)
    crowd = Crowd(room)
    tasks = [asyncio.create_task(crowd.answer(number)) for number in range(MOST + 3)]
    await looks.say(0.0)
    waiting = tasks[MOST:]
    crowd.go.release()
    waiting[0].cancel()  # may have been let in already, or not
    waiting[1].cancel()
    await asyncio.wait({waiting[0], waiting[1]}, timeout=20)
    await crowd.let_go(MOST)
    assert crowd.inside <= 1
    await crowd.let_go(1)
    assert crowd.inside == 0
    await asyncio.gather(*tasks, return_exceptions=True)
    again = asyncio.create_task(crowd.answer(99))
    await crowd.let_go(1)
    await asyncio.wait_for(again, 20)
    await room.close()
