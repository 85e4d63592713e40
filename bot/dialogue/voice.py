"""How the company speaks: its own texts, and what is said around them, in Chinese and in English."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bot.dialogue.rules import Rules
from bot.dialogue.smalltalk import Kind
from bot.dialogue.texts import TEXTS, WARM
from bot.errors import QuestionTooLongError
from bot.language import Language


@dataclass(frozen=True, slots=True)
class Voice:
    """The company's texts in one language. `handoff` tells how to reach a person.

    `texts` are its own wordings of `bot.dialogue.texts`, `hours` when a person can be reached, in words.
    """

    language: Language
    company: str
    assistant: str
    welcome: str
    handoff: str
    suggestions: tuple[str, ...] = ()
    notice: str = ""
    tone: str = "polite"
    texts: Mapping[str, str] = field(default_factory=dict)
    hours: str = ""

    def _say(self, zh: str, en: str) -> str:
        return en if self.language == "en" else zh

    def say(self, name: str) -> str:
        """A text of `bot.dialogue.texts`: the company's own wording, else that of its tone."""
        own = self.texts.get(name, "").strip()
        text = own or self._say(*(WARM.get(name, TEXTS[name]) if self.tone == "warm" else TEXTS[name]))
        for mark, value in (("{company}", self.company), ("{assistant}", self.assistant), ("{hours}", self.hours)):
            text = text.replace(mark, value)
        return text

    def small_talk(self, kind: Kind) -> str:
        """A short reply to small talk that leads back to the company's business."""
        return self.say(kind)

    def clarify(self, options: int) -> str:
        """What introduces the questions that are offered."""
        return self.say("clarify_one" if options == 1 else "clarify")

    def hand_over(self, cause: str, *, reachable: bool = True, instead: str = "", contact: bool = True) -> str:
        """The reply that leads to a person for this cause (a name of `bot.dialogue.texts`).

        `reachable` is whether one is there now; `instead` replaces the leading words, as an entry's own answer does;
        without `contact` it is not said how to reach one.
        """
        parts = [instead or self.say(cause), self.handoff if contact else "", "" if reachable else self.say("closed")]
        return "\n\n".join(part for part in parts if part.strip())

    def quote(self, title: str, text: str) -> str:
        """A source's own words, named and marked as a quotation (Markdown)."""
        quoted = "\n".join(f"> {line}".rstrip() for line in text.strip().splitlines())
        if not title:
            lead = self._say("找到下面这段说明，供您参考：", "This is what our documents say:")
        else:
            lead = self._say(f"在《{title}》里找到这段说明，供您参考：", f"This is what “{title}” says:")
        return f"{lead}\n\n{quoted}"

    def more(self, title: str, text: str) -> str:
        """What follows a generated beginning that could not be continued safely."""
        return "\n\n" + self.quote(title, text)

    def several(self, answers: Sequence[tuple[str, str]]) -> str:
        """Answers to several questions at once, each under its question (Markdown)."""
        if len(answers) == 1:
            return answers[0][1]
        return "\n\n".join(f"**{question}**\n\n{answer}" for question, answer in answers)

    def left_open(self, questions: Sequence[str], *, offered: bool) -> str:
        """Which of several questions have no answer yet, unnamed where none are given; `offered` where a button may be
        what is meant.
        """
        named = "、".join(f"「{question}」" for question in questions) or "您问的另一件事"
        named_en = ", ".join(f"“{question}”" for question in questions) or "the other thing you asked"
        zh, en = f"{named}我还不确定", f"I am not sure about {named_en}"
        if offered:
            return self._say(f"{zh}，您想问的是下面这个吗？", f"{en}: is it this?")
        return self._say(f"{zh}。{self.handoff}", f"{en}. {self.handoff}")

    def back_to(self, question: str) -> str:
        """What a form asked before something else came in between."""
        return self._say(f"接着刚才的事：{question}", f"Back to where we were: {question}")

    def not_read(self, question: str) -> str:
        """A form could not read the message as an answer."""
        return self._say(
            f"抱歉，没看明白。{question}\n\n不想办了请说「算了」，需要人工请说「转人工」。",
            f"Sorry, I could not read that. {question}\n\nSay “cancel” to stop, or “human agent” for a person.",
        )

    def recorded(self) -> str:
        """A form is complete, and the company's code says nothing."""
        return self._say("好的，已记录。", "All right, noted.")

    def too_long(self, characters: int, characters_max: int) -> str:
        """The message is longer than can be read."""
        said = QuestionTooLongError(characters, characters_max)
        return self._say(said.zh, said.en)


@dataclass(frozen=True, slots=True)
class Profile:
    """The company's voice in both languages, and its rules."""

    zh: Voice
    en: Voice
    rules: Rules = field(default_factory=Rules)

    def voice(self, language: str) -> Voice:
        """The voice for a BCP 47 tag: English for `en…`, else Chinese."""
        return self.en if language.lower().startswith("en") else self.zh


class Company(Protocol):
    """Who the bot speaks for: `now` is asked once a turn, so that an edit never reaches into one."""

    def now(self) -> Profile: ...
