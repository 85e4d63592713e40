"""The company's own texts: the settings', else those of `profile.json` in the data folder, else built-in ones."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from bot import keys
from bot.api.describe import describe
from bot.dialogue.voice import Profile, Voice
from bot.errors import ConfigError
from bot.language import Language
from bot.middleware import language_of

if TYPE_CHECKING:
    from bot.config import Settings

FILE = "profile.json"
SUGGESTIONS_MAX = 6
TEXT: Any = {"type": "string"}
BUILT_IN: dict[str, dict[Language, str]] = {
    "company_name": {"zh": "我们", "en": "our company"},
    "assistant_name": {"zh": "智能客服", "en": "the assistant"},
    "welcome": {"zh": "您好，请问有什么可以帮您？", "en": "Hello, how can I help you?"},
    "handoff": {"zh": "需要人工帮助，请联系我们的客服人员。", "en": "For further help, please contact our staff."},
}


def load_profile(settings: "Settings") -> Profile:
    """The company's voice in both languages. Raises ConfigError where `profile.json` is there and cannot be read."""
    file = _profile_file(settings)
    given = _read(file) if file else {}
    return Profile(_voice(settings, given, "zh"), _voice(settings, given, "en"))


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


def _profile_file(settings: "Settings") -> Path | None:
    own = settings.data / FILE
    if own.is_file():
        return own
    if settings.demo:
        from bot.demo import profile_path

        return profile_path()
    return None


def _read(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ConfigError("profile", f"无法读取 {file}：{error}", f"{file} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError("profile", f"{file} 必须是一个 JSON 对象", f"{file} must hold one JSON object")
    return value


def _voice(settings: "Settings", given: dict[str, Any], language: Language) -> Voice:
    def text(name: str, own: str) -> str:
        return own or _in_language(given.get(name), language) or BUILT_IN.get(name, {}).get(language, "")

    english = language == "en"
    suggestions = list(settings.suggested_questions) or _list(given.get("suggestions"), language)
    return Voice(
        language=language,
        company=text("company_name", settings.company_name),
        assistant=text("assistant_name", settings.assistant_name),
        welcome=text("welcome", settings.welcome_text_en if english else settings.welcome_text),
        handoff=text("handoff", settings.handoff_text_en if english else settings.handoff_text),
        suggestions=tuple(suggestions[:SUGGESTIONS_MAX]),
        notice=text("notice", ""),
    )


def _in_language(value: Any, language: Language) -> str:
    if isinstance(value, dict):
        value = value.get(language) or value.get("zh") or ""
    return value.strip() if isinstance(value, str) else ""


def _list(value: Any, language: Language) -> list[str]:
    if isinstance(value, dict):
        value = value.get(language) or value.get("zh") or []
    return [item for item in value if isinstance(item, str) and item.strip()] if isinstance(value, list) else []


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
    language = language_of(request)
    voice = request.app[PROFILE].voice(language)
    return web.json_response(
        {
            "company_name": voice.company,
            "assistant_name": voice.assistant,
            "welcome": voice.welcome,
            "handoff_text": voice.handoff,
            "notice": voice.notice,
            "suggestions": list(voice.suggestions),
            "language": language,
            "question_characters_max": request.app[keys.SETTINGS].question_characters_max,
            "built_in": built_in_texts(request.app[PROFILE]),
        }
    )


PROFILE: web.AppKey[Profile] = web.AppKey("profile", Profile)
routes = [web.get("/api/profile", show_profile)]
