"""Answers that the customer sees while they are written: one card a message, opened once and finished once.

What is known of a card is kept (`Service.remember`) before the platform is asked for anything that the customer sees:
after a kill the answer ends in the same card.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from connectors.errors import DeliveryError

if TYPE_CHECKING:
    from connectors.channel import Channel
    from connectors.types import Delivery

PER_MESSAGE = "message/"  # what is remembered under it is forgotten with the messages


class CardApi(Protocol):
    """A platform's cards. A card is a small value of JSON with what the platform needs to find it again."""

    async def prepare(self, message: str, text: str) -> dict[str, Any]:
        """A new card that nobody sees yet. Raises DeliveryError."""
        ...

    async def present(self, card: Mapping[str, Any], message: str, address: Mapping[str, Any]) -> None:
        """Put it into the conversation; a second time does nothing, or is refused. Raises DeliveryError."""
        ...

    async def write(self, card: Mapping[str, Any], text: str) -> None:
        """Show all the words so far. Raises DeliveryError."""
        ...

    async def finish(self, card: Mapping[str, Any], text: str, id_: str) -> None:
        """Show the whole answer; the card changes no more. The same `id_` again does nothing. Raises DeliveryError."""
        ...


class Cards:
    """The cards of one channel."""

    def __init__(self, channel: "Channel", api: CardApi) -> None:
        self._channel = channel
        self._api = api

    async def show(self, message: str, address: Mapping[str, Any], text: str) -> None:
        """The words so far of the answer to a message. Raises DeliveryError; the answer goes out all the same."""
        card = await self._known(message)
        new = card is None
        if card is None:
            card = await self._api.prepare(message, text)
            await self._keep(message, card)
        if "by" in card:
            return
        if card.get("shown"):
            await self._api.write(card, text)
            return
        try:
            await self._present(card, message, address, again=not new)
        except DeliveryError as error:
            if error.outcome != "retry":
                await self._keep(message, None)
            raise

    async def finish(self, message: str, delivery: "Delivery", text: str) -> bool:
        """Whether the answer's card could be made its delivery. Raises DeliveryError where that is tried again."""
        card = await self._known(message) if delivery.answers else None
        if card is None or card.get("by", delivery.id) != delivery.id:
            return False
        if "by" not in card:
            card["by"] = delivery.id
            await self._keep(message, card)
        try:
            if not card.get("shown"):
                await self._present(card, message, delivery.address, again=True)
            await self._api.finish(card, text, delivery.id)
        except DeliveryError as error:
            if error.outcome == "retry":
                raise
            return False
        return True

    async def _present(self, card: dict[str, Any], message: str, address: Mapping[str, Any], *, again: bool) -> None:
        try:
            await self._api.present(card, message, address)
        except DeliveryError as error:
            # A second time it may be refused because it is there: whoever writes into it will see.
            if error.outcome == "retry" or not again:
                raise
        card["shown"] = True
        await self._keep(message, card)

    async def _known(self, message: str) -> dict[str, Any] | None:
        found = await self._channel.service.recall(self._channel, PER_MESSAGE + message)
        return dict(found) if isinstance(found, dict) else None

    async def _keep(self, message: str, card: Mapping[str, Any] | None) -> None:
        await self._channel.service.remember(self._channel, PER_MESSAGE + message, card and dict(card))
