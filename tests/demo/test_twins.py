"""Near-duplicates on the demo company: rephrased questions are found out, questions of the same shelf are not."""

import json

import pytest

from bot import demo
from knowledge.index import Index
from knowledge.readers import read
from knowledge.types import Entry


@pytest.fixture(scope="module")
def entries() -> list[Entry]:
    return list(read(demo.faq_path()).entries)


@pytest.fixture(scope="module")
def index(shared_encoder, entries) -> Index:
    index = Index.open(None, shared_encoder)
    index.synchronise(entries)
    return index


def rephrased() -> list[tuple[str, str]]:
    """(question, id of the entry that answers it) that nobody wrote into the knowledge base."""
    found = []
    for name in ("paraphrases.jsonl", "golden.jsonl"):
        for line in (demo.faq_path().parent / name).read_text("utf-8").splitlines():
            one = json.loads(line)
            if one.get("faq_id") and one.get("type", "in") == "in":
                found.append((one["query"], one["faq_id"]))
    return found


def test_rephrased_questions_are_flagged_with_the_right_twin_and_neighbours_are_not(index, entries):
    asked = rephrased()
    twins = [index.twins([Entry(f"new-{number}", text)])[0] for number, (text, _) in enumerate(asked)]
    flagged = [(twin.id, gold) for twin, (_, gold) in zip(twins, asked, strict=True) if twin]
    right = sum(found == gold for found, gold in flagged) / len(asked)
    wrong = sum(found != gold for found, gold in flagged) / len(asked)
    # The demo's entries are all different: every twin among them is a neighbour taken for one.
    neighbours = [twin for twin in (index.twins([one])[0] for one in entries) if twin]
    share = len(neighbours) / len(entries)
    print(f"rephrased: {right:.3f} right, {wrong:.3f} wrong of {len(asked)}; neighbours: {share:.3f} of {len(entries)}")
    assert right >= 0.40
    assert wrong <= 0.02
    assert share <= 0.10


def test_out_of_scope_questions_have_no_twin(index):
    lines = (demo.faq_path().parent / "golden.jsonl").read_text("utf-8").splitlines()
    others = [one["query"] for one in map(json.loads, lines) if not one.get("faq_id")]
    assert len(others) >= 20
    assert [twin for twin in index.twins([Entry(f"o{n}", text) for n, text in enumerate(others)]) if twin] == []
