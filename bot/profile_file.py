"""`profile.json` in the data folder: what the company says and has laid down, edited by hand or in the console."""

import hashlib
import json
import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from bot.dialogue.hours import Hours, Span
from bot.dialogue.rules import Rules
from bot.dialogue.texts import TEXTS
from bot.dialogue.words import WordList
from bot.errors import ConfigError
from bot.expectations import shown
from bot.uploads import write_whole

FILE = "profile.json"
TEXT_CHARACTERS_MAX = 2000
WORDS_MAX = 20_000
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)|24:00")


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Both(Part):
    """A text in both languages; where English is empty the Chinese one stands for it."""

    zh: str = Field("", max_length=TEXT_CHARACTERS_MAX)
    en: str = Field("", max_length=TEXT_CHARACTERS_MAX)

    def get(self, language: str) -> str:
        return (self.en if language == "en" else self.zh).strip() or self.zh.strip()


class Lists(Part):
    """Short texts in both languages."""

    zh: list[str] = Field(default_factory=list, max_length=20)
    en: list[str] = Field(default_factory=list, max_length=20)

    def get(self, language: str) -> list[str]:
        found = (self.en if language == "en" else self.zh) or self.zh
        return [one.strip() for one in found if one.strip()]


def _in_both(value: Any) -> Any:
    """One text, or one list, stands for both languages."""
    return {"zh": value} if isinstance(value, str | list) else value


Text = Annotated[Both, BeforeValidator(_in_both)]
Texts = Annotated[Lists, BeforeValidator(_in_both)]
WordLines = Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=WORDS_MAX)]


class OpenSpan(Part):
    """Days (Monday is 1) and the times between which people can be reached; past midnight where it ends sooner."""

    days: list[Annotated[int, Field(ge=1, le=7)]] = Field(min_length=1, max_length=7)
    start: str = Field(alias="from", json_schema_extra={"expects": ["时刻，如 09:00", "a time such as 09:00"]})
    until: str = Field(json_schema_extra={"expects": ["时刻，如 18:00", "a time such as 18:00"]})

    @field_validator("start", "until")
    @classmethod
    def _clock(cls, value: str) -> str:
        if not _CLOCK.fullmatch(value.strip()):
            raise ValueError("time")
        return value.strip()

    def span(self) -> Span:
        return Span(tuple(self.days), _minute(self.start), _minute(self.until))


class Topic(Part):
    """A subject a person must see to, known by its words."""

    name: str = Field("", max_length=100)
    words: WordLines = Field(default_factory=list)


class Words(Part):
    """`refuse`: messages with these are declined. `withhold`: what a model wrote is not shown with these."""

    refuse: WordLines = Field(default_factory=list)
    withhold: WordLines = Field(default_factory=list)


class ProfileFile(Part):
    """All of the file; everything may be missing."""

    company_name: Text = Field(default_factory=Both)
    assistant_name: Text = Field(default_factory=Both)
    welcome: Text = Field(default_factory=Both)
    handoff: Text = Field(default_factory=Both)
    notice: Text = Field(default_factory=Both)
    suggestions: Texts = Field(default_factory=Lists)
    tone: Literal["polite", "warm"] = "polite"
    texts: dict[str, Text] = Field(default_factory=dict)
    hours: list[OpenSpan] = Field(default_factory=list, max_length=50)
    days_off: list[date] = Field(default_factory=list, max_length=400)
    topics: list[Topic] = Field(default_factory=list, max_length=200)
    words: Words = Field(default_factory=Words)
    handoff_labels: WordLines = Field(default_factory=list)

    @field_validator("texts")
    @classmethod
    def _known(cls, value: dict[str, Both]) -> dict[str, Both]:
        if unknown := sorted(set(value) - set(TEXTS)):
            raise ValueError(f"{unknown[0]}: {', '.join(TEXTS)}")
        return value

    def rules(self, zone: Any) -> Rules:
        """The rules of the file, the hours in this time zone."""
        topics = {word: topic.name or topic.words[0] for topic in self.topics for word in topic.words}
        return Rules(
            refused=WordList.of("refuse", self.words.refuse),
            handed_over=WordList(topics),
            withheld=WordList.of("withhold", (*self.words.withhold, *self.words.refuse)),
            labels=frozenset(label.strip() for label in self.handoff_labels if label.strip()),
            hours=Hours(tuple(one.span() for one in self.hours), frozenset(self.days_off), zone),
        )


def read(file: Path) -> ProfileFile:
    """The file's content. Raises ConfigError where it cannot be read, or names what in it is wrong."""
    try:
        value = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ConfigError("profile", f"无法读取 {file}：{error}", f"{file} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError("profile", f"{file} 必须是一个 JSON 对象", f"{file} must hold one JSON object")
    try:
        return ProfileFile.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place, seen = ".".join(str(part) for part in first["loc"]), shown(first["input"])
        raise ConfigError(
            "profile",
            f"{file} 的 {place} 不能是 {seen}：{first['msg']}",
            f"{place} in {file} cannot be {seen}: {first['msg']}",
        ) from error


def write(file: Path, profile: ProfileFile) -> None:
    """Write the file, whole or not at all. Raises OSError."""
    document = profile.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    write_whole(file, (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode())


def revision(file: Path) -> str:
    """Names the file as it is now: another edit gives another name; empty where there is none."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file.is_file() else ""


def _minute(clock: str) -> int:
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)
