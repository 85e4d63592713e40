"""What the company has laid down for its own conversations, beside its knowledge: what a person must see to."""

from dataclasses import dataclass, field

from bot.dialogue.hours import Hours
from bot.dialogue.words import WordList
from knowledge.types import Entry


@dataclass(frozen=True, slots=True)
class Rules:
    """The company's rules.

    Attributes:
        refused: a message with one of these words is declined politely.
        handed_over: a message with one of these goes to a person at once; each word stands for its topic.
        withheld: a text with one of these is not said, unless it is an entry's own answer.
        labels: categories and tags of entries that a person sees to: the entry's words are said, and a person fetched.
        hours: when a person can be reached.
    """

    refused: WordList = field(default_factory=WordList)
    handed_over: WordList = field(default_factory=WordList)
    withheld: WordList = field(default_factory=WordList)
    labels: frozenset[str] = frozenset()
    hours: Hours = field(default_factory=Hours)

    def needs_person(self, entry: Entry) -> str | None:
        """The label of the entry that calls for a person, None where it has none of these."""
        labels = (*(entry.tags or ()), *([entry.category] if entry.category else []))
        return next((label for label in labels if label in self.labels), None)
