"""The domain's responses (`utter_…`) as messages: the variant, its language, and the slots in its text.

Source: Rasa 3.6's documentation, "Responses"; `translation` as in Rasa Pro's multi-language assistants.
"""

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

_PLACE = re.compile(r"\{([A-Za-z_][\w.-]*)\}")

Response = dict[str, Any]


def rendered(
    variants: Sequence[Mapping[str, Any]], values: Mapping[str, Any], *, language: str, channel: str, told: int = 0
) -> Response:
    """One variant of a response: those made for the channel go before the others, those whose conditions the slots
    meet before those without any; `told` (how often it was said before) goes round among equals, where Rasa draws lots.
    """
    fitting = [one for one in variants if one.get("channel") in (None, channel) and _meets(one, values)]
    best = max((_exactness(one) for one in fitting), default=0)
    fitting = [one for one in fitting if _exactness(one) == best]
    if not fitting:
        return {}
    said = _translated(fitting[told % len(fitting)], language)
    return {str(key): _filled(one, values) for key, one in said.items()}


def with_responses(message: Mapping[str, Any], response: Mapping[str, Any]) -> Response:
    """A message of an action that names a response: the response's parts, the message's own in their place."""
    return {**response, **{key: value for key, value in message.items() if value}}


def _meets(variant: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    conditions = variant.get("condition") or []
    return all(
        isinstance(one, dict) and one.get("type") == "slot" and values.get(str(one.get("name"))) == one.get("value")
        for one in conditions
    )


def _exactness(variant: Mapping[str, Any]) -> int:
    return 2 * bool(variant.get("channel")) + bool(variant.get("condition"))


def _translated(variant: Mapping[str, Any], language: str) -> Mapping[str, Any]:
    translations = variant.get("translation")
    if not isinstance(translations, dict):
        return variant
    own = next((t for tag, t in translations.items() if language.lower().startswith(str(tag).lower())), None)
    if own is None:
        return variant
    said = {"text": own} if isinstance(own, str) else dict(own)
    buttons = []
    for button in variant.get("buttons") or []:
        words = (button.get("translation") or {}).get(language[:2].lower()) or {}
        buttons.append({**button, **({"title": words} if isinstance(words, str) else words)})
    return {**variant, "buttons": buttons, **said}


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    """Every `{slot}` replaced; one that is not known stays as it is. Never `str.format`: it would read attributes."""
    if isinstance(value, str):
        return _PLACE.sub(lambda match: _shown(match, values), value)
    if isinstance(value, Mapping):
        return {key: _filled(one, values) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(one, values) for one in value]
    return copy.deepcopy(value)


def _shown(match: re.Match[str], values: Mapping[str, Any]) -> str:
    name = match.group(1)
    if name not in values:
        return match.group(0)
    value = values[name]
    return "" if value is None else "、".join(map(str, value)) if isinstance(value, list) else str(value)
