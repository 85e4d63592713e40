"""How the company speaks: its own texts, and what is said around them, in Chinese and in English."""

from dataclasses import dataclass

from bot.dialogue.smalltalk import Kind
from bot.language import Language


@dataclass(frozen=True, slots=True)
class Voice:
    """The company's texts in one language. `handoff` tells how to reach a person."""

    language: Language
    company: str
    assistant: str
    welcome: str
    handoff: str
    suggestions: tuple[str, ...] = ()
    notice: str = ""

    def _say(self, zh: str, en: str) -> str:
        return en if self.language == "en" else zh

    def small_talk(self, kind: Kind) -> str:
        """A short reply to small talk that leads back to the company's business."""
        company, assistant = self.company, self.assistant
        zh, en = {
            "greeting": (
                f"您好，我是{company}的{assistant}，请问有什么可以帮您？",
                f"Hello, this is {assistant} of {company}. How can I help you?",
            ),
            "thanks": ("不客气，还有问题随时问我。", "You are welcome. Ask me any time."),
            "bye": ("好的，祝您生活愉快，有需要随时找我。", "All right. Have a good day, and come back any time."),
            "identity": (
                f"我是{company}的智能客服{assistant}，不是真人。您可以直接问我问题；需要人工帮助时，请说「转人工」。",
                f"I am {assistant}, the automatic assistant of {company}. Just ask, or say “human agent” for a person.",
            ),
            "acknowledgement": ("好的，还有其他问题请直接告诉我。", "All right. If there is anything else, just ask."),
            "cancel": (
                "好的，已取消。还有其他问题请直接告诉我。",
                "All right, cancelled. If there is anything else, just ask.",
            ),
        }[kind]
        return self._say(zh, en)

    def clarify(self, options: int) -> str:
        """What introduces the questions that are offered."""
        if options == 1:
            return self._say("您想问的是下面这个问题吗？", "Is this what you would like to know?")
        return self._say("您想问的是下面哪一个？", "Which of these would you like to know?")

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

    def person(self) -> str:
        """The reply to a wish for a person."""
        return (
            self._say("好的，这就告诉您怎么找到人工客服。", "Of course, here is how to reach a person.")
            + "\n\n"
            + self.handoff
        )

    def apology(self) -> str:
        """The calm reply to abuse: no reproach, and a person."""
        lead = self._say(
            "很抱歉给您带来了不好的感受。请告诉我具体遇到了什么问题，我马上帮您看；也可以直接找人工处理。",
            "I am sorry that this has upset you. Tell me what went wrong and I will look at once, or talk to a person.",
        )
        return f"{lead}\n\n{self.handoff}"

    def no_answer(self) -> str:
        """Says plainly that there is no answer here, and offers a person."""
        lead = self._say("抱歉，这个问题我没有找到准确的答案。", "I am sorry, I have found no reliable answer to this.")
        return f"{lead}\n\n{self.handoff}"

    def not_among(self) -> str:
        """None of the offered questions was meant."""
        lead = self._say(
            "抱歉没有猜对。请换一种说法，说得具体一些，我再帮您找。",
            "Sorry for the wrong guess. Please put it another way, with a little more detail.",
        )
        return f"{lead}\n\n{self.handoff}"

    def action_failed(self) -> str:
        """A business action did not work."""
        lead = self._say(
            "抱歉，这项查询暂时没有成功，请稍后再试。", "Sorry, this did not work just now. Please try again later."
        )
        return f"{lead}\n\n{self.handoff}"

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

    def empty(self) -> str:
        return self._say("请输入您的问题。", "Please type your question.")

    def too_long(self, characters: int, characters_max: int) -> str:
        """The message is longer than can be read."""
        return self._say(
            f"您的消息有 {characters} 个字，超过了 {characters_max} 个字的上限。请把问题说得简短一些，或分几次发给我。",
            f"Your message has {characters} characters; at most {characters_max} are possible. "
            "Please shorten it or send it in parts.",
        )


@dataclass(frozen=True, slots=True)
class Profile:
    """The company's voice in both languages."""

    zh: Voice
    en: Voice

    def voice(self, language: str) -> Voice:
        """The voice for a BCP 47 tag: English for `en…`, else Chinese."""
        return self.en if language.lower().startswith("en") else self.zh
