"""Small shops whose entries differ by a word: python tests/benchmarks/shops.py MODEL_FOLDER [--held-out] [--show]

Their own text, a dozen entries each. Of a file `# name` begins a shop, `question = answer` an entry; under it stand
` = a row of another file that asks the same`, ` + asked so`, ` - has no entry` and ` ? may mean several`. Prints how
many questions are answered rightly or wrongly, asked back or missed, and of the rows to import (the ones that ask the
same; those that have no entry, and the entries themselves, which are all different) how many are called near-duplicates
and are: precision and recall.
"""

import argparse
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from knowledge.encoders import TransformerEncoder
from knowledge.index import Index
from knowledge.types import Encoder, Entry

TUNED, HELD_OUT = (Path(__file__).parent / name for name in ("shops.txt", "shops_held_out.txt"))


@dataclass(slots=True)
class Shop:
    """A shop's entries, and what is asked of it: (words, id of the entry that answers them) each."""

    entries: list[Entry] = field(default_factory=list)
    twins: list[tuple[str, str]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    near: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)


def shops(path: Path) -> dict[str, Shop]:
    """The shops of a file by name."""
    found: dict[str, Shop] = {}
    shop = Shop()
    for line in path.read_text("utf-8").splitlines():
        kind, rest = line[:3], line[3:]
        if kind.startswith("# "):
            shop = found.setdefault(line[2:], Shop())
        elif kind in (" = ", " + "):
            (shop.twins if kind == " = " else shop.asked).append((rest, shop.entries[-1].id))
        elif kind in (" - ", " ? "):
            (shop.near if kind == " - " else shop.unclear).append(rest)
        else:
            question, answer = line.split(" = ", 1)
            shop.entries.append(Entry(str(len(shop.entries)), question, answer))
    return found


def score(encoder: Encoder, found: dict[str, Shop], *, show: bool = False) -> Counter[str]:
    """Counts: what became of the questions asked, and of the rows to import."""
    counts: Counter[str] = Counter()
    for name, shop in found.items():
        index = Index.open(None, encoder)
        index.synchronise(shop.entries)
        questions = {one.id: one.question for one in shop.entries}
        labelled = [("asked", *one) for one in shop.asked]
        labelled += [("near", text, "") for text in shop.near] + [("unclear", text, "") for text in shop.unclear]
        for kind, text, gold in labelled:
            result = index.search(text)
            top = result.hits[0].id if result.hits else ""
            outcome = result.decision
            if outcome == "answer" and gold:
                outcome = "right" if top == gold else "wrong"
            elif outcome == "clarify" and gold and gold not in result.options:
                outcome = "clarify_without"
            counts[f"{kind} {outcome}"] += 1
            if show and outcome in ("wrong", "answer"):
                print(f"{name}: {text} [{kind}] -> {questions[top]} p={result.probability:.3f}")
        rows = [(Entry(f"n{n}", text), gold) for n, (text, gold) in enumerate(shop.twins)]
        rows += [(Entry(f"x{n}", text), "") for n, text in enumerate(shop.near)] + [(one, "") for one in shop.entries]
        for row, gold in rows:
            twin = index.twins([row])[0]
            outcome = "silent" if twin is None else "flagged" if twin.id == gold else "flagged wrongly"
            counts[f"{'twin' if gold else 'other'} {outcome}"] += 1
            if show and twin and twin.id != gold:
                print(f"{name}: {row.question} [twin] -> {twin.question} {twin.similarity:.3f}")
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--held-out", action="store_true", help="the shops that nothing was tuned on")
    parser.add_argument("--show", action="store_true", help="print what was answered or called the same wrongly")
    options = parser.parse_args()
    path = HELD_OUT if options.held_out else TUNED
    report(score(TransformerEncoder(options.model), shops(path), show=options.show))


def report(counts: Counter[str]) -> None:
    """Print the shares."""
    for kind in ("asked", "near", "unclear"):
        whole = sum(count for key, count in counts.items() if key.startswith(f"{kind} "))
        shares = {key: round(count / whole, 3) for key, count in sorted(counts.items()) if key.startswith(f"{kind} ")}
        print(f"{whole:4} {shares}")
    right, wrong = counts["twin flagged"], counts["twin flagged wrongly"] + counts["other flagged wrongly"]
    twins = sum(count for key, count in counts.items() if key.startswith("twin "))
    others = sum(count for key, count in counts.items() if key.startswith("other "))
    print(f"{twins} twins, {others} others: precision {right / max(right + wrong, 1):.3f}, recall {right / twins:.3f}")


if __name__ == "__main__":
    main()
