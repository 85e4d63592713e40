"""What training is judged by: the encoder's hit rate, the generator's held-out loss and its key facts."""

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Shares of queries, 0..1: right entry first, among three; mean reciprocal rank among ten; AUROC where it can be.

    `auroc` is the chance that an in-scope query's best score exceeds an out-of-scope one's; None without either.
    """

    queries: int
    hit_1: float
    hit_3: float
    mrr_10: float
    auroc: float | None = None

    def to_json(self) -> dict[str, float | int | None]:
        return asdict(self)


def retrieval(
    embed: "Callable[[Sequence[str]], NDArray[np.float32]]",
    entries: Mapping[str, Sequence[str]],
    queries: Sequence[tuple[str, str | None]],
) -> Retrieval:
    """Exact dense search over the entries' phrasings; an entry's score is its best phrasing's.

    `queries` are (text, entry id); None is out of scope. Keep held-out words out of `entries`, or they find themselves.
    """
    import numpy as np

    ids = list(entries)
    starts = np.cumsum([0, *[len(entries[entry]) for entry in ids]])[:-1]
    matrix = embed([text for entry in ids for text in entries[entry]])
    scores = np.maximum.reduceat(embed([text for text, _ in queries]) @ matrix.T, starts, axis=1)
    column = {entry: i for i, entry in enumerate(ids)}
    rows = [(row, column[entry]) for row, (_, entry) in enumerate(queries) if entry in column]
    ranks = np.array([int((scores[row] > scores[row, gold]).sum()) for row, gold in rows])
    inside = [float(scores[row].max()) for row, (_, entry) in enumerate(queries) if entry is not None]
    outside = [float(scores[row].max()) for row, (_, entry) in enumerate(queries) if entry is None]
    n = max(1, len(ranks))
    return Retrieval(
        queries=len(rows),
        hit_1=float((ranks == 0).sum()) / n,
        hit_3=float((ranks < 3).sum()) / n,
        mrr_10=float((1.0 / (ranks[ranks < 10] + 1)).sum()) / n,
        auroc=auroc(inside, outside),
    )


def auroc(inside: Sequence[float], outside: Sequence[float]) -> float | None:
    """The chance that a value of `inside` exceeds one of `outside`, ties counting half; None where a side is empty."""
    import numpy as np

    if not len(inside) or not len(outside):
        return None
    ordered = np.sort(np.asarray(outside))
    values = np.asarray(inside)
    below, to = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return float((below + to).sum() / 2 / len(values) / len(ordered))


def facts_present(reply: str, facts: Sequence[Sequence[str]]) -> int:
    """How many facts the reply states. A fact is a list of acceptable spellings, any of which counts."""
    text = squeezed(reply)
    return sum(any(squeezed(spelling) in text for spelling in fact) for fact in facts)


def facts_score(replies: Iterable[tuple[str, Sequence[Sequence[str]]]]) -> tuple[float, float]:
    """(share of all facts stated, share of replies that state all of theirs) over (reply, facts) pairs."""
    found = wanted = complete = count = 0
    for reply, facts in replies:
        present = facts_present(reply, facts)
        found, wanted, count = found + present, wanted + len(facts), count + 1
        complete += present == len(facts)
    return found / max(1, wanted), complete / max(1, count)


def squeezed(text: str) -> str:
    """NFKC, lower case, without spaces: 「３ 个工作日」 equals 「3个工作日」."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())
