"""What a message from a channel is answered with: the dialogue's reply, or a fixed text for what is no question."""

from collections.abc import Callable
from contextlib import aclosing
from typing import Literal

from bot.dialogue.voice import Company
from connectors.types import Button, Handler, Inbound, MediaKind, Outbound

NOT_UNDERSTOOD = {
    "zh": "抱歉，我暂时只能看懂文字，请把问题打成文字发给我。",
    "en": "Sorry, I can only read text for now. Please type your question.",
}
MEDIA: dict[MediaKind, str] = {
    "image": "图片", "voice": "语音", "video": "视频", "file": "文件", "sticker": "表情", "other": "其他消息",
}  # fmt: skip
FAILED = {
    "zh": "抱歉，系统出了点问题，没能回答您，请稍后再问一次。",
    "en": "Sorry, something went wrong and I could not answer. Please ask again in a moment.",
}


async def replies_to(
    inbound: Inbound, handle: Handler, company: Company, wrote: Callable[[str], None]
) -> list[Outbound]:
    """Every finished reply to a message, in order. `wrote(text)` hears each piece of one that is being written."""
    if inbound.event is not None:
        return [welcome(company)] if inbound.event == "welcome" else []
    if not inbound.text.strip():
        strange = inbound.media is not None or inbound.location is not None
        return [Outbound(NOT_UNDERSTOOD["zh"], decision="refuse")] if strange else []
    finished = []
    async with aclosing(handle(inbound)) as pieces:
        async for piece in pieces:
            if piece.final:
                finished.append(piece)
            else:
                wrote(piece.text)
    return finished


def described(inbound: Inbound) -> str:
    """What somebody who cannot see it is told of a message that is no text; empty for one that is nothing."""
    if inbound.media is not None:
        return f"[{MEDIA[inbound.media.kind]}]"
    return f"[位置 {inbound.location.label}]" if inbound.location is not None else ""


def welcome(company: Company) -> Outbound:
    """The greeting for somebody who just came, with the questions the company suggests."""
    voice = company.now().zh
    return Outbound(voice.welcome, buttons=tuple(Button(text, text) for text in voice.suggestions), decision="chitchat")


def apology(language: Literal["zh", "en"] = "zh") -> Outbound:
    """For a message that could not be answered however often it was tried."""
    return Outbound(FAILED[language], decision="refuse")
