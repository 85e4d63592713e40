"""Rate limits: token buckets in memory, by address and conversation."""

import time
from collections import OrderedDict
from collections.abc import Callable

from aiohttp import web

from bot.errors import TooManyRequestsError

KEYS_MAX = 100_000
SIGN_INS_PER_MINUTE = 10


class RateLimiter:
    """Allows `per_minute` events a key: that many at once after a rest, then one each `60 / per_minute` seconds."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admit(self, key: str) -> None:
        """Count one event. Raises TooManyRequestsError with the wait until the next is allowed."""
        moment = self._clock()
        tokens, seen = self._buckets.pop(key, (float(self._per_minute), moment))
        tokens = min(self._per_minute, tokens + (moment - seen) * self._per_minute / 60)
        self._buckets[key] = (max(tokens - 1, 0.0) if tokens >= 1 else tokens, moment)
        if len(self._buckets) > KEYS_MAX:
            self._buckets.popitem(last=False)  # the one unseen for longest: its bucket is the fullest
        if tokens < 1:
            raise TooManyRequestsError((1 - tokens) * 60 / self._per_minute)

    def forgive(self, key: str) -> None:
        """Forget a key: its owner proved to be right."""
        self._buckets.pop(key, None)


class Limits:
    """The limits of one service."""

    def __init__(self, sessions_per_minute: int, messages_per_minute: int) -> None:
        self._sessions = RateLimiter(sessions_per_minute)
        self._messages = RateLimiter(messages_per_minute)
        self.sign_ins = RateLimiter(SIGN_INS_PER_MINUTE)

    def session(self, address: str) -> None:
        """Before a new conversation is opened. Raises TooManyRequestsError."""
        self._sessions.admit(address)

    def message(self, address: str, conversation: str) -> None:
        """Before a message is answered, on every way in. Raises TooManyRequestsError."""
        self._messages.admit(f"{address} {conversation}")


LIMITS: web.AppKey[Limits] = web.AppKey("limits", Limits)
