"""The model that writes: in this process, or on the server that the settings name."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bot.engines.base import Engine
from bot.engines.local import LocalEngine
from bot.engines.remote import RemoteEngine
from bot.learning import releases
from bot.security.redaction import Mask, mask

if TYPE_CHECKING:
    from bot.config import Settings
    from bot.dialogue.voice import Company, Profile


def make_engine(settings: "Settings", company: "Company") -> Engine | None:
    """The generator of the settings, not yet loaded nor asked; None where it is switched off."""
    if not settings.generator:
        return None

    def installed() -> dict[str, Path]:
        from finetune import registry

        found = registry.list_folders(settings.data / "adapters")
        return {one.name: one for one in found if one.name.startswith("generator-")}

    def check(folder: Path) -> None:
        releases.verify(settings, folder.name, "generator")

    if settings.generator_url:
        return RemoteEngine(
            settings.generator_url,
            settings.generator,
            outgoing(company.now),
            key=key_of(settings),
            installed=installed,
            check=check,
        )
    return LocalEngine(
        releases.base_folder(settings, "generator"),
        settings.generator,
        installed=installed,
        check=check,
        threads=settings.engine_threads,
    )


def key_of(settings: "Settings") -> str:
    """The key for the generation server, empty for none."""
    return settings.generator_key.get_secret_value() if settings.generator_key else ""


def outgoing(profile: "Callable[[], Profile]") -> Mask:
    """What a text becomes before it goes to somebody else's server: nobody's particulars but the company's own."""

    def masked(text: str) -> str:
        now = profile()
        contacts = [part for voice in (now.zh, now.en) for part in (voice.handoff, voice.welcome, voice.notice)]
        return mask(text, keep="\n".join(contacts)).text

    return masked
