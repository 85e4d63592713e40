"""How well questions group by meaning: labelled questions in the order of their file, at several thresholds.

    python -m tests.benchmarks.groups /path/to/bench        # folders with faq.jsonl and queries.jsonl

Printed for groups of two and more: how many questions they hold, and the share that asks what most of its group does
(purity), beside the same for shared character pairs alone at the same number of grouped questions.
"""

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np

from bot.learning import clusters
from bot.learning.signals import overlap
from knowledge.encoders import TransformerEncoder
from knowledge.text import plain
from tests.conftest import models_folder

QUERIES, BATCH = 800, 256


def purity(groups: Sequence[Hashable], gold: Sequence[str]) -> tuple[int, float]:
    """(questions in groups of two and more, share of them that asks what most of its group does)."""
    members: dict[Hashable, list[str]] = defaultdict(list)
    for group, label in zip(groups, gold, strict=True):
        members[group].append(label)
    several = [labels for labels in members.values() if len(labels) > 1]
    total = sum(map(len, several))
    return total, sum(Counter(labels).most_common(1)[0][1] for labels in several) / max(1, total)


def by_words(shared: np.ndarray, alike: float) -> list[int]:
    """The same way of grouping by what texts share, given for each pair."""
    leaders: list[int] = []
    groups = []
    for row in range(len(shared)):
        best = int(shared[row, leaders].argmax()) if leaders else -1
        if best < 0 or shared[row, leaders[best]] < alike:
            best = len(leaders)
            leaders.append(row)
        groups.append(best)
    return groups


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bench", type=Path)
    folder = parser.parse_args().bench
    encoder = TransformerEncoder(models_folder() / "multilingual-e5-small", threads=1)
    for name in sorted(path.name for path in folder.iterdir() if (path / "queries.jsonl").is_file()):
        rows = [json.loads(line) for line in (folder / name / "queries.jsonl").read_text("utf-8").splitlines()]
        rows = [row for row in rows if row.get("faq_id")][:QUERIES]
        texts, gold = [plain(row["query"]) for row in rows], [row["faq_id"] for row in rows]
        faqs = (folder / name / "faq.jsonl").read_text("utf-8").splitlines()[:600]
        questions = encoder.encode([plain(json.loads(line)["question"]) for line in faqs])
        similar = (questions @ questions.T)[np.triu_indices(len(questions), 1)]
        vectors = encoder.encode(texts)
        shared = np.array([[overlap(one, other) for other in texts] for one in texts])
        for deviations in (4.0, clusters.ALIKE, 5.0):
            alike = min(float(similar.mean() + deviations * similar.std()), clusters.SIMILARITY_MAX)
            known = clusters.Clusters(encoder.dimension, alike)
            groups = [g for start in range(0, len(texts), BATCH) for g in known.assign(vectors[start : start + BATCH])]
            count, pure = purity(groups, gold)
            # The words' own threshold that groups as many.
            words = min((purity(by_words(shared, t / 20), gold) for t in range(6, 19)), key=lambda w: abs(w[0] - count))
            print(f"{name}: {deviations} deviations, {len(known)} groups; {count} of {len(texts)} grouped, ", end="")
            print(f"purity {pure:.3f}; by words alone {words[0]} grouped, purity {words[1]:.3f}", flush=True)


if __name__ == "__main__":
    main()
