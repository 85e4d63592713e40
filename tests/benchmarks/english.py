"""English questions to Chinese knowledge bases: python -m tests.benchmarks.english MODEL_FOLDER

`english.txt` has them by company: the demo's with entry ids, three of `small_companies.txt` with its questions, and
some that have no answer there. Prints, for each company, how often the right entry is first and among three, what is
done with questions that have an answer, and with those that have none.
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


def asked() -> dict[str, list[Asked]]:
    """By company, from the file's lines: `# name`, `+ entry = question`, `- question without an answer`."""
    found: dict[str, list[Asked]] = {}
    for line in QUESTIONS.read_text("utf-8").splitlines():
        mark, rest = line[:2], line[2:]
        if mark == "# ":
            own = found.setdefault(rest, [])
        elif mark == "+ ":
            entry, question = rest.split(" = ", 1)
            own.append((question, entry))
        else:
            own.append((rest, None))
    return found


def entries_of(name: str) -> list[Entry]:
    """The company's entries; a small one's are known by their questions."""
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
    for name, questions in asked().items():
        index = Index.open(None, encoder)
        index.synchronise(entries_of(name))
        results = index.search_all([question for question, _ in questions])
        print(report(name, [(gold, found) for (_, gold), found in zip(questions, results, strict=True)]))


if __name__ == "__main__":
    main()
