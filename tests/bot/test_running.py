"""Streams and polls that end, fail, or are cut off inside: they are begun again, soon and for ever."""

import asyncio
import logging

import pytest

from bot.messaging.running import MOST_SECONDS, keep_running, pause_seconds
from connectors.channel import Channel
from connectors.errors import DeliveryError


class Line(Channel):
    """Does the next of `course` each time it is run: raises it, or stays open for so many seconds."""

    kind = "line"

    def __init__(self, *course):
        super().__init__("shop", {}, None)
        self.course = list(course)
        self.now = 0.0
        self.paused = []
        self.over = asyncio.Event()

    async def run(self):
        step = self.course.pop(0)
        if isinstance(step, BaseException):
            raise step
        self.now += step

    async def sleep(self, seconds):
        self.paused.append(round(seconds, 3))
        if not self.course:
            self.over.set()
            await asyncio.Event().wait()

    async def kept(self):
        """The pauses, once the course is over."""
        running = asyncio.create_task(keep_running(self, self.sleep, lambda: self.now, lambda: 0.0))
        async with asyncio.timeout(20):
            await self.over.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return self.paused


def refused(retry_after=None):
    return DeliveryError("stream", "断开", "broken", retry_after=retry_after)


async def test_a_platform_that_refuses_for_long_is_asked_again_within_fifteen_seconds():
    assert await Line(*[refused() for _ in range(8)]).kept() == [1, 2, 4, 8, 15, 15, 15, 15]


async def test_what_held_for_a_while_is_opened_again_at_once():
    assert await Line(refused(), refused(), 60.0, refused(), 3.0).kept() == [1, 2, 1, 2, 4]


async def test_the_platforms_own_word_is_kept_to():
    assert await Line(refused(retry_after=40.0), refused()).kept() == [40, 2]


async def test_something_cancelled_inside_does_not_silence_the_channel_for_ever(caplog):
    assert await Line(asyncio.CancelledError(), ValueError("broken"), 1.0).kept() == [1, 2, 4]
    assert "cut off" in caplog.text
    assert "line/shop failed" in caplog.text


async def test_the_same_again_is_not_warned_of_all_night(caplog):
    caplog.set_level(logging.INFO)
    await Line(refused(), refused(), refused(), DeliveryError("other", "另一种", "another"), refused()).kept()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "INFO", "WARNING", "WARNING"]


def test_many_do_not_come_back_at_once():
    pauses = {pause_seconds(9, chance=chance / 10) for chance in range(11)}
    assert len(pauses) == 11
    assert (min(pauses), max(pauses)) == (0.75 * MOST_SECONDS, MOST_SECONDS)
