"""The calibration in use: one file beside each encoder adapter, one for the base encoder, else the shipped one."""

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.errors import NotFoundError
from bot.uploads import write_whole

if TYPE_CHECKING:
    from bot.config import Settings
    from knowledge.calibrate import Calibration

log = logging.getLogger("kefu.calibrations")


def calibration_file(settings: "Settings", adapter_folder: Path | None = None) -> Path:
    """Where the calibration of an encoder adapter, or of the base encoder, is kept."""
    return (adapter_folder or settings.data) / "calibration.json"


def models_of(settings: "Settings") -> str:
    """Names the base encoder and the reranker of the settings, by their checksums: what a calibration is fitted for.

    Raises ModelError where one is unknown or not prepared.
    """
    from finetune.models import model_checksum, model_folder

    names = (settings.encoder, settings.reranker)
    found = [model_checksum(model_folder(name, settings.models))[:16] if name else "-" for name in names]
    return "+".join(found)


def load_calibration(settings: "Settings", adapter_folder: Path | None = None) -> "Calibration":
    """The adapter's own calibration, else the company's, else the shipped one; the settings' thresholds win."""
    found = read(calibration_file(settings, adapter_folder), models_of(settings))
    return found.with_thresholds(settings.answer_threshold, settings.clarify_threshold)


def read(file: Path, models: str) -> "Calibration":
    """The calibration of a file that was fitted for these models; the shipped one where there is none.

    One of other models is left out with a log line: its probabilities would mean something else. So is one that cannot
    be read, or reads other features than this version's.
    """
    from knowledge.calibrate import Calibration, shipped
    from knowledge.errors import KnowledgeError

    if not file.is_file():
        return shipped()
    try:
        found = Calibration.from_json(file.read_text("utf-8"))
    except (KnowledgeError, UnicodeDecodeError) as error:
        log.warning("%s: %s; the shipped calibration is used", file, error)
        return shipped()
    if fits(found, models):
        return found
    log.warning("%s was fitted for other models; the shipped calibration is used", file)
    return shipped()


def fits(calibration: "Calibration", models: str) -> bool:
    """Whether it was fitted for these models. One that does not say is of a time before there were rerankers."""
    return calibration.fitted_for == models or (not calibration.fitted_for and models.endswith("+-"))


def fitted_for(calibration: "Calibration", models: str) -> "Calibration":
    """The same calibration, for these models."""
    return replace(calibration, fitted_for=models)


def save(file: Path, calibration: "Calibration", record: Mapping[str, Any]) -> None:
    """Write a calibration whole, with a record of how it came about and the one it replaces, for `roll_back`.

    Raises OSError.
    """
    document = json.loads(calibration.to_json()) | {"record": dict(record), "previous": _document(file)}
    write_whole(file, json.dumps(document, ensure_ascii=False, indent=1).encode())


def roll_back(file: Path) -> "dict[str, Any] | None":
    """Put the calibration back that was in use before; returns it, None for the shipped one.

    Doing it again brings the later one back, unless the earlier is the shipped one. Raises NotFoundError, OSError.
    """
    now = _document(file, whole=True)
    if now is None:
        raise NotFoundError(
            "no_calibration", "没有自己的校准，用的就是随产品提供的", "There is no calibration but the shipped one"
        )
    earlier: dict[str, Any] | None = now.pop("previous", None)
    if earlier is None:
        file.unlink()
        return None
    write_whole(file, json.dumps(earlier | {"previous": now}, ensure_ascii=False, indent=1).encode())
    return earlier


def record_of(file: Path) -> dict[str, Any]:
    """How the calibration of a file came about; empty where that is not known."""
    return dict((_document(file) or {}).get("record") or {})


def _document(file: Path, *, whole: bool = False) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return found if whole else {key: value for key, value in found.items() if key != "previous"}
    except (ValueError, AttributeError):
        return None  # a damaged one is nothing to go back to
