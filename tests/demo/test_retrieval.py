"""The golden set against the demo's FAQ, with the real encoder: dense similarity alone finds the right entry."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bot import demo
from knowledge.evaluate import evaluate, read_queries
from knowledge.index import Index
from knowledge.types import Entry


@pytest.mark.slow
def test_the_golden_set_is_found_and_out_of_scope_scores_lower(shared_encoder: Any) -> None:
    index = Index.open(None, shared_encoder)
    rows = [json.loads(line) for line in demo.faq_path().read_text(encoding="utf-8").splitlines()]
    index.synchronise(
        Entry(row["id"], row["question"], row.get("answer", ""), tuple(row["similar_questions"])) for row in rows
    )
    queries = read_queries(demo.golden_path())
    _, report = evaluate(index, queries, dense_only=True)
    assert report["hit@1"] >= 0.95
    assert report["hit@3"] >= 0.98
    assert all(auroc >= 0.97 for auroc in report["auroc"].values()), report["auroc"]
    _, report = evaluate(index, queries)
    assert report["hit@1"] >= 0.95
    assert not any(report["answered"].values()), report["answered"]
    # The starting buttons must work, in either language.
    suggestions = json.loads(demo.profile_path().read_text(encoding="utf-8"))["suggestions"]
    wanted = ["order-status", "shipping-fee", "return-how", "product-ppr9087-life"]
    for language in ("zh", "en"):
        found = [index.search(text) for text in suggestions[language]]
        assert [(result.hits[0].id, result.decision) for result in found] == [(id_, "answer") for id_ in wanted]
    # So must the question that both READMEs begin with.
    for readme in ("README.md", "README.zh-CN.md"):
        text = (Path(demo.__file__).parents[2] / readme).read_text(encoding="utf-8")
        first = re.search(r"/chat`[^「]*「(.+?)」", text)
        assert first
        assert index.search(first.group(1)).decision == "answer", first.group(1)
