"""Who is next: users take turns, and each one's requests keep their order."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Things that wait, each for a user; not safe to share between threads by itself."""

    def __init__(self) -> None:
        self._by_user: OrderedDict[str, deque[T]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._by_user.values()))

    def __iter__(self) -> Iterator[T]:
        for waiting in self._by_user.values():
            yield from waiting

    def waiting_of(self, user: str) -> int:
        """How many things wait for this user."""
        return len(self._by_user.get(user, ()))

    def add(self, user: str, thing: T) -> None:
        self._by_user.setdefault(user, deque()).append(thing)

    def take(self, fits: Callable[[T], bool]) -> T | None:
        """The first that fits, asking users in turn; whoever was served asks last next time."""
        for user, waiting in self._by_user.items():
            thing = next((thing for thing in waiting if fits(thing)), None)
            if thing is not None:
                self._remove(user, thing)
                if user in self._by_user:
                    self._by_user.move_to_end(user)
                return thing
        return None

    def drop(self, which: Callable[[T], bool]) -> list[T]:
        """Take out all of which that is true."""
        found = [(user, thing) for user, waiting in self._by_user.items() for thing in waiting if which(thing)]
        for user, thing in found:
            self._remove(user, thing)
        return [thing for _, thing in found]

    def _remove(self, user: str, thing: T) -> None:
        self._by_user[user].remove(thing)
        if not self._by_user[user]:
            del self._by_user[user]
