"""Labelled questions as the search sees them: reviewed ones, and a company's own wordings, each held out in turn."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bot.errors import StoppingError
from finetune.data import Labelled
from finetune.data import normalise as same
from finetune.smalltalk import OUT_OF_SCOPE
from knowledge.rank import FEATURES
from knowledge.refit import Case
from knowledge.types import Entry, SearchResult

# Customers ask for what is not there, whether people label that or not. Where fewer labels say so, questions are also
# asked with their own entry hidden, up to this share: the near misses of a knowledge base that lacks the entry.
OUTSIDE_SHARE = 0.2
CASES_MAX = 2000
STEP = 32
OnProgress = Callable[[int, int], None]
LookUp = Callable[..., list[SearchResult]]


@dataclass(frozen=True, slots=True)
class Observed:
    """The cases, and how many of them are labels that nothing answers and questions whose entry was hidden."""

    cases: tuple[Case, ...]
    outside: int
    hidden: int

    @property
    def labels(self) -> int:
        """How many questions were labelled as they are."""
        return len(self.cases) - self.hidden


def observe(look_up: LookUp, chosen: Sequence[Labelled], on_progress: OnProgress, stop: threading.Event) -> Observed:
    """Searches every question with `look_up`, as `Index.search_all` does; blocking, for a thread.

    Raises StoppingError after `stop`.
    """
    return _observe(look_up, chosen, on_progress, stop, own=False)


def observe_own(look_up: LookUp, entries: Sequence[Entry], on_progress: OnProgress, stop: threading.Event) -> Observed:
    """Every wording of entries that have several asked while it is held out; and, as outside, what no FAQ answers.

    Without a single label this tells how often the search is right here, as far as the company's own wordings differ
    the way customers' do (docs/benchmarks.md). Blocking, for a thread. Raises StoppingError after `stop`.
    """
    wordings = [
        Labelled(text, entry.id, entry.id)
        for entry in entries
        if entry.enabled and len({same(text) for text in entry.phrasings}) > 1
        for text in dict.fromkeys(entry.phrasings)
    ]
    everyday = [Labelled(text, None, text) for text in OUT_OF_SCOPE]
    return _observe(look_up, sample(wordings), on_progress, stop, own=True, outside=everyday)


def sample(examples: Sequence[Labelled]) -> tuple[Labelled, ...]:
    """Of very many some, the same each time."""
    return tuple(sorted(examples, key=lambda one: hashlib.sha256(one.text.encode()).digest())[:CASES_MAX])


def _observe(
    look_up: LookUp,
    chosen: Sequence[Labelled],
    on_progress: OnProgress,
    stop: threading.Event,
    *,
    own: bool,
    outside: Sequence[Labelled] = (),
) -> Observed:
    cases: list[Case] = []
    inside: list[Labelled] = []
    asked = [*chosen, *outside]
    for start in range(0, len(asked), STEP):
        _check(stop)
        part = asked[start : start + STEP]
        held = [one.entry or "" for one in part] if own else ()
        for one, found in zip(part, look_up([one.text for one in part], held_out=held), strict=True):
            if case := _case(one, found, one.entry):
                cases.append(case)
                inside += [one] if case.inside else []
        on_progress(min(start + STEP, len(asked)), len(asked))
    labelled = len(cases) - len(inside)
    wanted = int(len(inside) * OUTSIDE_SHARE / (1 - OUTSIDE_SHARE)) - (0 if own else labelled)
    hidden = []
    for one in inside[: max(wanted, 0)]:
        _check(stop)
        (found,) = look_up([one.text], admits=_all_but(one.entry))
        hidden += [case] if (case := _case(one, found, None)) else []
    return Observed((*cases, *hidden), labelled, len(hidden))


def _case(one: Labelled, found: SearchResult, entry: str | None) -> Case | None:
    """None where nothing was found, or an entry has the question word for word."""
    if not found.hits or found.features[FEATURES.index("exact")]:
        return None
    return Case(found.features, found.hits[0].id == entry, entry is not None, one.group)


def _all_but(hidden: str | None) -> Callable[[str], bool]:
    return lambda id_: id_ != hidden


def _check(stop: threading.Event) -> None:
    if stop.is_set():
        raise StoppingError
