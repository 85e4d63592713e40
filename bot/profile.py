"""The company's voice and rules: the settings' texts, else those of `profile.json`, else built-in ones.

They are read anew when somebody has edited them.
"""

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from bot import keys
from bot.api.describe import describe
from bot.dialogue.script import speller
from bot.dialogue.voice import Profile, Voice
from bot.errors import ConfigError
from bot.language import Language
from bot.middleware import language_of, tag_of
from bot.profile_file import FILE, ProfileFile, read
from bot.zone import company_zone

if TYPE_CHECKING:
    from bot.config import Settings

SUGGESTIONS_MAX = 6
TEXT: Any = {"type": "string"}
BUILT_IN: dict[str, dict[Language, str]] = {
    "company_name": {"zh": "本公司", "en": "our company"},
    "assistant_name": {"zh": "小助手", "en": "the assistant"},
    "welcome": {"zh": "您好，请问有什么可以帮您？", "en": "Hello, how can I help you?"},
    "handoff": {"zh": "需要人工帮助，请联系我们的客服人员。", "en": "For further help, please contact our staff."},
}
# Texts of the file that a setting replaces, in Chinese and in English.
SETTINGS = {
    "company_name": ("company_name", "company_name"),
    "assistant_name": ("assistant_name", "assistant_name"),
    "welcome": ("welcome_text", "welcome_text_en"),
    "handoff": ("handoff_text", "handoff_text_en"),
    "suggestions": ("suggested_questions", "suggested_questions"),
}
log = logging.getLogger("kefu.profile")


class LiveProfile:
    """The profile in force. A turn asks `now()` once; `follow` reads the file again after an edit."""

    def __init__(self, settings: "Settings") -> None:
        """Raises ConfigError where `profile.json` is there and cannot be read."""
        self._settings = settings
        self._profile = load_profile(settings)

    def now(self) -> Profile:
        return self._profile

    def voice(self, language: str) -> Voice:
        """The voice of now for a BCP 47 tag."""
        return self._profile.voice(language)

    async def follow(self, _value: int = 0) -> None:
        """Read the file again; where it cannot be read, what was in force stays. Fits `Watcher.register`."""
        try:
            self._profile = await asyncio.to_thread(load_profile, self._settings)
        except ConfigError as error:
            log.warning("the profile stays as it was: %s", error.en)


def load_profile(settings: "Settings") -> Profile:
    """The company's voice in both languages and its rules. Raises ConfigError where `profile.json` cannot be read."""
    file = profile_file(settings)
    given = read(file) if file else ProfileFile()
    rules = given.rules(company_zone(settings))
    return Profile(_voice(settings, given, "zh"), _voice(settings, given, "en"), rules)


def built_in_texts(profile: Profile) -> list[str]:
    """Settings whose texts say who the company is and how to reach it, and that are its own in no language."""

    def is_built_in(voice: Voice, name: str, text: str) -> bool:
        return text == BUILT_IN[name.removesuffix("_text")][voice.language]

    voices = (profile.zh, profile.en)
    texts = {"company_name": [v.company for v in voices], "handoff_text": [v.handoff for v in voices]}
    return [
        name
        for name, both in texts.items()
        if all(is_built_in(voice, name, text) for voice, text in zip(voices, both, strict=True))
    ]


def profile_file(settings: "Settings") -> Path | None:
    """The file in force: the data folder's own, else the demo company's where that is loaded."""
    own = settings.data / FILE
    if own.is_file():
        return own
    if settings.demo:
        from bot.demo import profile_path

        return profile_path()
    return None


def _voice(settings: "Settings", given: ProfileFile, language: Language) -> Voice:
    def text(name: str) -> str:
        own = getattr(settings, SETTINGS[name][language == "en"]) if name in SETTINGS else ""
        return own or getattr(given, name).get(language) or BUILT_IN.get(name, {}).get(language, "")

    suggestions = list(settings.suggested_questions) or given.suggestions.get(language)
    return Voice(
        language=language,
        company=text("company_name"),
        assistant=text("assistant_name"),
        welcome=text("welcome"),
        handoff=text("handoff"),
        suggestions=tuple(suggestions[:SUGGESTIONS_MAX]),
        notice=text("notice"),
        tone=given.tone,
        texts={name: both.en if language == "en" else both.zh for name, both in given.texts.items()},
        hours=given.rules(None).hours.describe(language),
    )


@describe(
    "How the company presents itself on the chat page",
    response={
        "type": "object",
        "properties": {
            **dict.fromkeys(("company_name", "assistant_name", "welcome", "handoff_text", "notice", "language"), TEXT),
            "suggestions": {"type": "array", "items": {"type": "string"}},
            "question_characters_max": {"type": "integer"},
            "built_in": {
                "type": "array",
                "items": {"type": "string", "enum": ["company_name", "handoff_text"]},
                "description": "texts that the company has not set yet",
            },
        },
    },
)
async def show_profile(request: web.Request) -> web.Response:
    language, profile = language_of(request), request.app[PROFILE].now()
    voice, spell = profile.voice(language), speller(tag_of(request)) or str
    return web.json_response(
        {
            "company_name": spell(voice.company),
            "assistant_name": spell(voice.assistant),
            "welcome": spell(voice.welcome),
            "handoff_text": spell(voice.handoff),
            "notice": spell(voice.notice),
            "suggestions": [spell(one) for one in voice.suggestions],
            "language": language,
            "question_characters_max": request.app[keys.SETTINGS].question_characters_max,
            "built_in": built_in_texts(profile),
        }
    )


PROFILE: web.AppKey[LiveProfile] = web.AppKey("profile", LiveProfile)
routes = [web.get("/api/profile", show_profile)]
