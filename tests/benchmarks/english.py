"""Questions in another language than the knowledge base: python -m tests.benchmarks.english MODEL_FOLDER

`english.txt` has them by company: English ones of the demo with entry ids, of three of `small_companies.txt` with its
questions, Chinese ones of a hotel whose entries are English and stand there, too, and some that have no answer.
Prints, for each company, how often the right entry is first and among three, what is done with questions that have an
answer, and with those that have none.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from knowledge.encoders import TransformerEncoder
from knowledge.index import Index
from knowledge.readers import read
from knowledge.types import Entry, SearchResult
from tests.benchmarks.fit_calibration import DEMO, small_companies

QUESTIONS = Path(__file__).with_suffix(".txt")
# A question and the entry that answers it, None where none does.
Asked = tuple[str, str | None]


def asked() -> tuple[dict[str, list[Asked]], dict[str, list[Entry]]]:
    """(questions, entries) by company, from the file's lines: `# name`, `= entry = its answer`, `+ entry = question`,
    `- question without an answer`. Entries go by their questions.
    """
    found: dict[str, list[Asked]] = {}
    entries: dict[str, list[Entry]] = {}
    for line in QUESTIONS.read_text("utf-8").splitlines():
        mark, rest = line[:2], line[2:]
        if mark == "# ":
            name = rest
            found[name] = []
        elif mark == "= ":
            entry, answer = rest.split(" = ", 1)
            entries.setdefault(name, []).append(Entry(entry, entry, answer))
        elif mark == "+ ":
            entry, question = rest.split(" = ", 1)
            found[name].append((question, entry))
        else:
            found[name].append((rest, None))
    return found, entries


def entries_of(name: str) -> list[Entry]:
    """The entries of a company that `english.txt` has none of."""
    if name == "demo":
        return list(read(DEMO / "faq.jsonl").entries)
    return [Entry(one.question, one.question, one.answer) for one in small_companies()[name][0]]


def report(name: str, results: Sequence[tuple[str | None, SearchResult]]) -> str:
    """One row of a table: shares of the questions with an answer, then of those without."""
    inside = [(gold, found) for gold, found in results if gold]
    outside = [found for gold, found in results if not gold]
    first = [found.hits[0].id == gold for gold, found in inside]
    near = [gold in [hit.id for hit in found.hits[:3]] for gold, found in inside]
    direct = [found.decision == "answer" for _, found in inside]
    shares = [
        sum(first) / len(inside),
        sum(near) / len(inside),
        sum(one and right for one, right in zip(direct, first, strict=True)) / len(inside),
        sum(one and not right for one, right in zip(direct, first, strict=True)) / len(inside),
        *(sum(found.decision == one for _, found in inside) / len(inside) for one in ("clarify", "none")),
        *(sum(found.decision == one for found in outside) / len(outside) for one in ("answer", "clarify")),
    ]
    return f"| {name} ({len(inside)}, {len(outside)}) | " + " | ".join(f"{one:.3f}" for one in shares) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    encoder = TransformerEncoder(parser.parse_args().model)
    print("| company | hit@1 | hit@3 | right | wrong | asked back | nothing | no answer: answered | asked back |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    companies, entries = asked()
    for name, questions in companies.items():
        index = Index.open(None, encoder)
        index.synchronise(entries.get(name) or entries_of(name))
        results = index.search_all([question for question, _ in questions])
        print(report(name, [(gold, found) for (_, gold), found in zip(questions, results, strict=True)]))


if __name__ == "__main__":
    main()
