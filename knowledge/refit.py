"""Would a calibration fitted on a company's own labelled questions be better than the one in use? Pure functions."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from knowledge.calibrate import Calibration, Floats, fit_features

FOLDS = 5
# What the shipped thresholds promise (tests/benchmarks/test_retrieval.py): wrong direct answers among questions that
# have an entry, direct answers among near misses that have none.
DIRECT_WRONG_MAX = 0.05
OUTSIDE_ANSWERED_MAX = 0.25


@dataclass(frozen=True, slots=True)
class Case:
    """A labelled question as the search saw it. `right`: the top entry answers; `inside`: some entry does.

    Cases of one `group` (a conversation) are never in the fit and in the test at once.
    """

    features: tuple[float, ...]
    right: bool
    inside: bool
    group: str


@dataclass(frozen=True, slots=True)
class Figures:
    """Of all cases: log loss (nats) and Brier score. Of those with an entry: answered rightly and wrongly. Of those
    without: answered all the same.
    """

    log_loss: float
    brier: float
    direct_correct: float
    direct_wrong: float
    outside_answered: float


@dataclass(frozen=True, slots=True)
class Refit:
    """A calibration fitted on all cases. `before` is the one in use, `after` such a fit on cases it never saw.

    `better` only where the log loss falls by more than chance would (one standard error), the Brier score falls too,
    and wrong answers stay within what the shipped calibration promises, or at least within what is served now.
    """

    calibration: Calibration
    before: Figures
    after: Figures
    better: bool


def refit(cases: Sequence[Case], served: Calibration, prior: Calibration) -> Refit:
    """Fits on `cases` with `prior` weighing as it does in `calibrate.fit`, and compares by cross-validation.

    Judged by the thresholds of `served`. Raises ValueError where there are no cases.
    """
    if not cases:
        raise ValueError("no cases to fit on")
    features = np.array([case.features for case in cases])
    right = np.array([case.right for case in cases], dtype=np.float64)
    inside = np.array([case.inside for case in cases])
    folds = np.array([_fold(case.group) for case in cases])
    old = np.array([served.probability(case.features) for case in cases])
    new = np.empty(len(cases))
    for fold in np.unique(folds):
        held = folds == fold
        fitted = fit_features(features[~held], right[~held], prior) if (~held).any() else prior
        new[held] = [fitted.probability(row) for row in features[held].tolist()]
    before, after = (_figures(chances, right, inside, served.answer_threshold) for chances in (old, new))
    gain = _log_losses(old, right) - _log_losses(new, right)
    surely = float(gain.mean()) > float(gain.std()) / math.sqrt(len(cases))
    better = (
        surely
        and after.brier < before.brier
        and after.direct_wrong <= max(DIRECT_WRONG_MAX, before.direct_wrong)
        and after.outside_answered <= max(OUTSIDE_ANSWERED_MAX, before.outside_answered)
    )
    fitted = replace(fit_features(features, right, prior), fitted_for=served.fitted_for)
    return Refit(fitted, before, after, better)


def _fold(group: str) -> int:
    return int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) % FOLDS


def _log_losses(chances: Floats, right: Floats) -> Floats:
    found: Floats = -np.log(np.clip(np.where(right > 0, chances, 1 - chances), 1e-9, 1))
    return found


def _figures(chances: Floats, right: Floats, inside: "np.typing.NDArray[np.bool_]", threshold: float) -> Figures:
    answered = chances >= threshold

    def share(chosen: "np.typing.NDArray[np.bool_]", among: "np.typing.NDArray[np.bool_]") -> float:
        return float((chosen & among).sum() / among.sum()) if among.any() else 0.0

    return Figures(
        log_loss=float(_log_losses(chances, right).mean()),
        brier=float(((chances - right) ** 2).mean()),
        direct_correct=share(answered & (right > 0), inside),
        direct_wrong=share(answered & (right == 0), inside),
        outside_answered=share(answered, ~inside),
    )
