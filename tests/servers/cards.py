"""What a customer sees of a card that grows: once in a conversation, and whole only when it is finished."""

from dataclasses import dataclass, field


@dataclass
class Card:
    """`shown` are all the words it ever showed, in order; `sequence` and `updates` are what the platform checks by."""

    text: str = ""
    to: str = ""
    finished: bool = False
    sequence: int = 0
    shown: list[str] = field(default_factory=list)
    updates: set[str] = field(default_factory=set)

    def show(self, text: str) -> None:
        self.text = text
        self.shown.append(text)
