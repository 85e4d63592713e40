"""From the features of a ranked list to the probability that its top entry answers, and the two thresholds on it."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from knowledge.errors import KnowledgeError
from knowledge.rank import FEATURES
from knowledge.types import SearchResult

Floats = NDArray[np.float64]
SHIPPED_FILE = Path(__file__).parent / "data" / "calibration.json"
EXACT_PROBABILITY = 0.995
# How much evidence the shipped coefficients count as when a company's own results are fitted.
PRIOR_RESULTS = 300.0
NEWTON_STEPS_MAX = 50
# With them 0.09 becomes 0.05 among fourteen entries.
CLARIFY_SIZE, CLARIFY_SIZE_POWER = 100, 0.3


@dataclass(frozen=True, slots=True)
class Calibration:
    """A logistic model over `rank.FEATURES` and the thresholds for answering and for asking back.

    `fitted_for` names the models whose results it was fitted on; "" for any. With `clarify_size_power` it is asked back
    from less on where there are few entries (`clarify_threshold_among`); 0 leaves the threshold as it is.
    """

    coefficients: tuple[float, ...]
    intercept: float
    answer_threshold: float
    clarify_threshold: float
    fitted_for: str = ""
    clarify_size_power: float = CLARIFY_SIZE_POWER

    def probability(self, features: Sequence[float]) -> float:
        """That the top entry answers, 0..1. An entry asked word for word answers, unless several have that wording."""
        exact = features[FEATURES.index("exact")]
        if exact:
            return EXACT_PROBABILITY * exact
        logit = self.intercept + float(np.dot(self.coefficients, features))
        return float(1 / (1 + np.exp(-np.clip(logit, -40, 40))))

    def clarify_threshold_among(self, entries: int) -> float:
        """From which probability on it is asked back where there are so many entries.

        Among a dozen a question in other words looks as unlikely as it does among thousands, and is the company's far
        more often: nearly nothing else comes as near (`tests/benchmarks/shops.py`).
        """
        share = float((max(entries, 1) / CLARIFY_SIZE) ** self.clarify_size_power)
        return self.clarify_threshold * min(1.0, share)

    def with_thresholds(self, answer: float | None = None, clarify: float | None = None) -> "Calibration":
        """The same model with the thresholds that are given; one for asking back then holds for any number of entries.
        Raises KnowledgeError unless 0 ≤ clarify ≤ answer ≤ 1.
        """
        new = replace(
            self,
            answer_threshold=self.answer_threshold if answer is None else answer,
            clarify_threshold=self.clarify_threshold if clarify is None else clarify,
            clarify_size_power=self.clarify_size_power if clarify is None else 0.0,
        )
        if answer is not None and clarify is None:
            new = replace(new, clarify_threshold=min(new.clarify_threshold, answer))
        if not 0 <= new.clarify_threshold <= new.answer_threshold <= 1:
            raise KnowledgeError(
                "thresholds",
                f"阈值应满足 0 ≤ 反问({new.clarify_threshold})≤ 直答({new.answer_threshold})≤ 1。",
                f"Thresholds must satisfy 0 ≤ clarify ({new.clarify_threshold}) ≤ answer ({new.answer_threshold}) ≤ 1.",
            )
        return new

    def to_json(self) -> str:
        """One JSON object; `from_json` reads it back equal."""
        return json.dumps({"features": FEATURES, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Calibration":
        """Raises KnowledgeError where the text is not a calibration for these features."""
        try:
            found = json.loads(text)
            if tuple(found["features"]) != FEATURES:
                raise ValueError(f"features {found['features']}, expected {list(FEATURES)}")
            new = cls(
                tuple(float(value) for value in found["coefficients"]),
                float(found["intercept"]),
                float(found["answer_threshold"]),
                float(found["clarify_threshold"]),
                str(found.get("fitted_for", "")),
                max(0.0, float(found.get("clarify_size_power", CLARIFY_SIZE_POWER))),
            )
            if len(new.coefficients) != len(FEATURES) or not np.isfinite([*new.coefficients, new.intercept]).all():
                raise ValueError(f"coefficients {new.coefficients}")
        except (ValueError, KeyError, TypeError) as error:
            raise KnowledgeError(
                "calibration", f"校准文件无法使用：{error}", f"This is no usable calibration: {error}"
            ) from error
        return new.with_thresholds()


def shipped() -> Calibration:
    """The calibration that comes with the product, fitted on public question sets of two companies."""
    return Calibration.from_json(SHIPPED_FILE.read_text(encoding="utf-8"))


def fit(
    results: Sequence[SearchResult],
    gold: Sequence[Collection[str] | None],
    prior: Calibration | None = None,
    strength: float = PRIOR_RESULTS,
) -> Calibration:
    """A calibration for the encoder and the company that gave these results.

    `gold[i]` holds the entries that answer query i, None where it is out of scope. The coefficients stay near those of
    `prior` (the shipped ones) as long as there are few results, fewer than `strength`; the thresholds on the
    probability are those of `prior`.
    Raises ValueError where the two sequences differ in length.
    """
    prior = prior or shipped()
    rows = [
        (result.features, float(bool(answers and result.hits and result.hits[0].id in answers)))
        for result, answers in zip(results, gold, strict=True)
        if result.features and not result.features[FEATURES.index("exact")]
    ]
    if not rows:
        return prior
    return fit_features(np.array([row[0] for row in rows]), np.array([row[1] for row in rows]), prior, strength)


def fit_features(features: Floats, right: Floats, prior: Calibration, strength: float = PRIOR_RESULTS) -> Calibration:
    """`fit` from features [results, FEATURES], none of a query asked word for word, and whether the top was right."""
    weights = fit_logistic(features, right, start=np.array([*prior.coefficients, prior.intercept]), strength=strength)
    return replace(prior, coefficients=tuple(float(w) for w in weights[:-1]), intercept=float(weights[-1]))


def fit_logistic(
    features: Floats, right: Floats, *, start: Floats, strength: float, weights: Floats | None = None
) -> Floats:
    """Coefficients and, last, the intercept of a logistic regression, by Newton's method from `start`.

    The penalty draws the logits towards those of `start` as `strength` results with the same features would.
    """
    design = np.column_stack([features, np.ones(len(features))])
    weights = np.ones(len(right)) if weights is None else weights
    pull = strength * 0.25 * (design.T @ design) / len(design) + 1e-3 * np.eye(design.shape[1])
    found = start.astype(np.float64)
    for _ in range(NEWTON_STEPS_MAX):
        chances = 1 / (1 + np.exp(-np.clip(design @ found, -40, 40)))
        slope = design.T @ (weights * (chances - right)) + pull @ (found - start)
        curve = (design * (weights * chances * (1 - chances))[:, None]).T @ design + pull
        step = np.linalg.solve(curve, slope)
        # A full Newton step can overshoot where the classes part cleanly.
        found -= step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if float(np.abs(step).max()) < 1e-8:
            break
    return found
