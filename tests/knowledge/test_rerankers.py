"""The reranker: a real folder down the product's path, and what its word does to the order."""

import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from knowledge.encoders import TransformerEncoder
from knowledge.errors import RerankerError
from knowledge.index import Index
from knowledge.rank import FEATURES, Background, features
from knowledge.rerankers import LOG_ODDS_MAX, RERANKED, WEIGHT, TransformerReranker, fuse, rerank
from knowledge.types import Entry, Hit, Vectors
from tests.knowledge.matching import Match, rank

GROUND = Background(0.8, 0.02)
# By `Asked`: the last ones first; those it dislikes beyond the bound keep their order among themselves.
FAVOURITES = (*range(RERANKED - 1, RERANKED - 1 - int(LOG_ODDS_MAX), -1), *range(RERANKED - int(LOG_ODDS_MAX)))


@pytest.fixture(scope="module")
def reranker(reranker_folder: Path) -> TransformerReranker:
    return TransformerReranker(reranker_folder)


class Asked:
    """A reranker that remembers what it was asked; the last text is its favourite."""

    id = "asked"

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []

    def score(self, query: str, texts: Sequence[str]) -> Vectors:
        self.calls.append((query, list(texts)))
        return np.arange(len(texts), dtype=np.float32)


def logits(*values: float) -> Vectors:
    return np.array(values, dtype=np.float32)


def hit(id_: str, score: float, penalty: float = 0.0) -> Hit:
    return Hit(id_, "faq", id_, score, 0, score, penalty)


def test_it_scores_what_it_was_taught(reranker: TransformerReranker, shop: list[Entry], taught: dict[str, str]) -> None:
    texts = [text for entry in shop for text in entry.phrasings]
    owners = [entry.id for entry in shop for _ in entry.phrasings]
    for question, answer in taught.items():
        found = reranker.score(question, texts)
        assert (found.shape, found.dtype) == ((len(texts),), np.float32)
        assert {owner for owner, one in zip(owners, found, strict=True) if one > 0} == {answer}


def test_batches_and_threads_give_each_pair_its_own_score(reranker: TransformerReranker) -> None:
    texts = ["怎么退货" * n for n in (9, 1, 40, 3)] * 10 + ["发票", ""]
    together = reranker.score("退货要多少运费", texts)
    with ThreadPoolExecutor(8) as pool:
        alone = np.concatenate(list(pool.map(lambda text: reranker.score("退货要多少运费", [text]), texts)))
    np.testing.assert_allclose(together, alone, atol=0.05)
    assert reranker.score("退货", []).shape == (0,)
    assert np.isfinite(reranker.score("退" * 300_000, ["货" * 300_000])).all()


def test_two_logits_are_read_as_not_and_is_relevant(
    reranker: TransformerReranker, reranker_folder: Path, tmp_path: Path
) -> None:
    folder = with_head(reranker_folder, tmp_path / "two", [0.0, 1.0])
    two = TransformerReranker(folder)
    texts = ["怎么退货", "发票什么时候开", "退货运费谁出"]
    np.testing.assert_allclose(two.score("退货要多少运费", texts), reranker.score("退货要多少运费", texts), atol=1e-4)
    assert two.id != reranker.id


def with_head(source: Path, folder: Path, shares: list[float]) -> Path:
    """The same model with one logit for each share of the old one."""
    shutil.copytree(source, folder)
    weights = load_file(folder / "model.safetensors")
    for name in ("classifier.weight", "classifier.bias"):
        weights[name] = np.concatenate([weights[name] * np.float32(share) for share in shares])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    labels = {str(i): f"LABEL_{i}" for i in range(len(shares))}
    config |= {"id2label": labels, "label2id": {name: int(i) for i, name in labels.items()}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_the_id_follows_the_content(reranker: TransformerReranker, reranker_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(reranker_folder, tmp_path / "copy")
    assert TransformerReranker(tmp_path / "copy").id == reranker.id
    assert TransformerReranker(with_head(reranker_folder, tmp_path / "other", [0.5])).id != reranker.id


def test_what_is_no_reranker_is_refused(reranker_folder: Path, encoder_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RerankerError, match="缺少训练过的分类层") as caught:
        TransformerReranker(encoder_folder)  # transformers would give it a random head
    assert "no trained classification head" in caught.value.en
    with pytest.raises(RerankerError, match="而不是 3 个"):
        TransformerReranker(with_head(reranker_folder, tmp_path / "three", [0.0, 1.0, 0.5]))
    (tmp_path / "empty").mkdir()
    damaged = tmp_path / "damaged"
    shutil.copytree(reranker_folder, damaged)
    (damaged / "model.safetensors").write_bytes((damaged / "model.safetensors").read_bytes()[:5000])
    for folder in (tmp_path / "empty", tmp_path / "nowhere", damaged):
        with pytest.raises(RerankerError, match=folder.name):
            TransformerReranker(folder)


def test_both_scores_count_in_one_currency() -> None:
    step = WEIGHT * GROUND.deviation
    near = [hit("a", 0.9), hit("b", 0.9 - 2 * step)]
    assert [one.id for one in fuse(near, logits(-1, 0), GROUND)] == ["a", "b"]
    assert [one.id for one in fuse(near, logits(-3, 0), GROUND)] == ["b", "a"]
    assert fuse(near, logits(-3, 0), GROUND)[0].score == near[1].score
    assert [round(one.rerank or 0, 3) for one in fuse(near, logits(-3, 0), GROUND)] == [0.5, 0.047]
    far = [hit("a", 0.9), hit("b", 0.9 - (LOG_ODDS_MAX + 1) * step)]
    assert [one.id for one in fuse(far, logits(-99, 99), GROUND)] == ["a", "b"]
    # What all are liked alike changes nothing, whatever the level.
    assert [one.id for one in fuse(near, logits(-9, -9), GROUND)] == ["a", "b"]


def test_a_negative_question_stays_in_force() -> None:
    matches = [Match("a", "", 0.92, 0), Match("a", "", 0.97, 0, negative=True), Match("b", "", 0.7, 0)]
    close = rank([*matches, Match("c", "", 0.9, 0)], GROUND)
    assert [one.id for one in close] == ["c", "a", "b"]
    assert close[1].penalty > 0
    assert next(one.id for one in fuse(close, logits(-9, 9, -9), GROUND)) == "c"


def test_few_are_read_and_those_asked_word_for_word_not_at_all() -> None:
    asked = Asked()
    many = [hit(str(i), 0.9 - i / 1e5) for i in range(RERANKED + 4)]
    found = rerank(many, "几点　上班？", asked, GROUND)
    assert [one.id for one in found] == [str(i) for i in (*FAVOURITES, *range(RERANKED, RERANKED + 4))]
    assert [one.rerank is None for one in found] == [False] * RERANKED + [True] * 4
    assert asked.calls == [("几点 上班", [str(i) for i in range(RERANKED)])]
    exact = [hit("a", 1.0), hit("b", 0.9)]
    assert rerank(exact, "a", asked, GROUND) == exact
    assert rerank([], "a", asked, GROUND) == []
    assert len(asked.calls) == 1


def test_the_index_asks_it(
    encoder: TransformerEncoder, reranker: TransformerReranker, shop: list[Entry], taught: dict[str, str]
) -> None:
    index = Index.open(None, encoder, reranker=reranker)
    index.synchronise(shop)
    without = Index.open(None, encoder)
    without.synchronise(shop)
    before = [one.hits[0].id for one in without.search_all(list(taught))]
    after = index.search_all(list(taught))
    assert [one.hits[0].id for one in after] == list(taught.values()) != before
    for one in after:
        assert one.features[: FEATURES.index("coverage")] == features(one.hits, index.background)[:7]
        assert all(candidate.rerank is not None for candidate in one.hits)
        assert index.search(one.query).hits[0].id == one.hits[0].id
    moved = next(one for one, old in zip(after, before, strict=True) if one.hits[0].id != old)
    assert moved.features[FEATURES.index("margin")] < 0
    dense = index.search("退货要多少运费", dense_only=True)
    assert dense == without.search("退货要多少运费", dense_only=True)
    assert index.search("怎么退货") == without.search("怎么退货")
    assert not any(candidate.rerank for candidate in index.search("怎么退货").hits)
