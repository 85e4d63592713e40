"""The calibration in use: one file beside each encoder adapter, one for the base encoder, else the shipped one."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

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

    One of other models is left out with a log line: its probabilities would mean something else.
    """
    from knowledge.calibrate import Calibration, shipped

    if not file.is_file():
        return shipped()
    found = Calibration.from_json(file.read_text("utf-8"))
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
