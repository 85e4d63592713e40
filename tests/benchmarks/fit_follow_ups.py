"""Fits `bot.dialogue.context.choice`: python tests/benchmarks/fit_follow_ups.py

Rows are the turns of `tests/demo/conversations.jsonl` at which entries are chosen among: the candidates there, and
which of them the label names; none where it wants a person, a refusal or a question back. Each conversation gives its
turns twice, as the pipeline answers it today, and as if every turn had been answered by the entry its label names, so
that an early mistake does not hide what follows. Prints the coefficients and how well they choose: on conversations
left out of the fit, a tenth at a time, and on the two held-out sets, which no fit sees.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bot.commands.ask import opened
from bot.config import Settings
from bot.dialogue.context import choice, reading
from bot.dialogue.context.wording import FollowUp
from bot.dialogue.types import Turn, Utterance
from bot.knowledge_base import KnowledgeBase
from bot.storage.database import opened as opened_database
from bot.turns import HISTORY_UTTERANCES
from knowledge.types import SearchResult
from tests.demo.conversation_score import CONVERSATIONS, DEMO, HELD_OUT, HELD_OUT_2, load_company, talk

PENALTY = 0.002
FOLDS = 10
# (conversation, features [candidates, FEATURES], similarity of the words alone, whether right [candidates and none]).
Row = tuple[str, np.ndarray, float, np.ndarray]


class Recorder:
    """In the place of `choose`: keeps what each choice was among."""

    def __init__(self) -> None:
        self.seen: list[tuple[list[str], np.ndarray, float]] = []

    def __call__(
        self, lean: FollowUp, own: SearchResult, together: SearchResult, spoken: Any, entries: Any, like: Any
    ) -> choice.Choice:
        rows = choice.described(lean, own, spoken, entries, like)
        self.seen.append(([one.id for one in entries], np.array(rows), choice.similarity(own)))
        return choice.choose(lean, own, together, spoken, entries, like)

    def row(self, name: str, label: dict[str, Any], gold: Sequence[str]) -> list[Row]:
        """What was recorded since the last call, labelled; nothing where it was not one choice."""
        seen, self.seen = self.seen, []
        if len(seen) != 1 or any(one.startswith("@") for one in label["source"]) or label["kind"] == "two questions":
            return []
        ids, features, similarity = seen[0]
        answered = "answer" in label["decision"] and bool(gold)
        if not answered and label["source"] and not gold:
            return []  # a document alone answers it
        right = [float(id_ in gold) for id_ in ids] + [float(not answered)]
        return [(name, features, similarity, np.array(right))] if any(right) else []


async def read(conversations: Sequence[dict[str, Any]], home: Path) -> list[Row]:
    """The rows of conversations."""
    recorder, rows = Recorder(), []
    reading.choose = recorder  # type: ignore[assignment]
    for number, company in enumerate(dict.fromkeys(one.get("company", DEMO) for one in conversations)):
        settings = Settings(data=home / str(number), generator="")
        settings.data.mkdir()
        async with opened_database(settings.database) as database:
            await load_company(database, settings, company)
        async with opened(settings) as (pipeline, knowledge):
            known = {one.question: one.id for one in knowledge._units.values() if hasattr(one, "question")}
            for talked in (one for one in conversations if one.get("company", DEMO) == company):
                async for said in talk(pipeline, talked, {}):
                    rows += recorder.row(talked["id"], said.label, _gold(said.label, known, knowledge))
                rows += await _as_labelled(talked, known, knowledge, recorder)
    return rows


async def _as_labelled(
    talked: dict[str, Any], known: dict[str, str], knowledge: KnowledgeBase, recorder: Recorder
) -> list[Row]:
    """The rows of a conversation where each turn was answered by the first entry of its label."""
    rows, history = [], []
    for label in talked["turns"]:
        gold = _gold(label, known, knowledge)
        turn = Turn(talked["id"], label["user"], tuple(history[-HISTORY_UTTERANCES:]))
        await reading.in_context(turn, await knowledge.search(turn.text), knowledge)
        if label["kind"] not in ("courtesy", "person", "order"):
            rows += recorder.row(talked["id"], label, gold)
        recorder.seen.clear()
        history.append(Utterance("user", label["user"]))
        if gold and (entry := knowledge.entry(gold[0])):
            history.append(Utterance("bot", entry.answer, "answer", (), (entry.id,), (entry.question,)))
    return rows


def _gold(label: dict[str, Any], known: dict[str, str], knowledge: KnowledgeBase) -> list[str]:
    return [id_ for one in label["source"] if knowledge.entry(id_ := known.get(one, one))]


def probabilities(weights: np.ndarray, features: np.ndarray, similarity: float) -> np.ndarray:
    """Of each candidate and, last, of none; the weights are those of FEATURES, of none, and of the similarity."""
    scores = np.append(features @ weights[:-2], weights[-2] + weights[-1] * similarity)
    powers = np.exp(scores - scores.max())
    return np.asarray(powers / powers.sum())


def fit(rows: Sequence[Row]) -> np.ndarray:
    """Weights in the order of `probabilities`: the likeliest to choose what is right, drawn to zero."""
    import torch

    weights = torch.zeros(len(choice.FEATURES) + 2, dtype=torch.float64, requires_grad=True)
    tensors = [(torch.tensor(features), near, torch.tensor(right) > 0) for _, features, near, right in rows]
    solver = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        solver.zero_grad()
        missed = PENALTY * len(rows) * (weights**2).sum()
        for features, near, right in tensors:
            scores = torch.cat([features @ weights[:-2], (weights[-2] + weights[-1] * near)[None]])
            missed = missed + torch.logsumexp(scores, 0) - torch.logsumexp(scores[right], 0)
        missed.backward()
        return missed

    solver.step(loss)
    return np.asarray(weights.detach())


def judged(rows: Sequence[Row], fits: Sequence[np.ndarray]) -> str:
    """How the choices of `fits[i]` on row i turn out, with the bounds that are in use."""
    first = third = answered = wrong = loss = 0.0
    for (_, features, near, right), weights in zip(rows, fits, strict=True):
        found = probabilities(weights, features, near)
        order = np.argsort(-found)
        first, third = first + right[order[0]], third + right[order[:3]].max()
        loss -= float(np.log(max((found * right).sum(), 1e-9)))
        if order[0] < len(found) - 1 and found[order[0]] >= choice.ANSWER_MIN:
            answered, wrong = answered + 1, wrong + 1 - right[order[0]]
    count = len(rows)
    return (
        f"{count} rows: first {first / count:.3f}, in three {third / count:.3f}, log loss {loss / count:.3f}; "
        f"answered {answered / count:.3f}, of those wrong {wrong / max(answered, 1):.3f}"
    )


def main() -> None:
    found = []
    for path in (CONVERSATIONS, HELD_OUT, HELD_OUT_2):
        with tempfile.TemporaryDirectory() as home:
            talked = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            found.append(asyncio.run(read(talked, Path(home))))
    rows, *held_out = found
    names = {name: number % FOLDS for number, name in enumerate(sorted({row[0] for row in rows}))}
    folds = [fit([row for row in rows if names[row[0]] != fold]) for fold in range(FOLDS)]
    print("left out:", judged(rows, [folds[names[row[0]]] for row in rows]))
    weights = fit(rows)
    for unseen in held_out:
        print("held out:", judged(unseen, [weights] * len(unseen)))
    print("WEIGHTS =", tuple(float(one) for one in weights[:-2].round(2)), choice.FEATURES)
    print("NONE, NONE_SIMILARITY =", tuple(float(one) for one in weights[-2:].round(2)))


if __name__ == "__main__":
    main()
