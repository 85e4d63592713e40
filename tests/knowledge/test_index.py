import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from knowledge import store
from knowledge.encoders import TransformerEncoder
from knowledge.index import Index
from knowledge.types import Entry, Passage, ProgressCallback, SyncReport, TextKind, Vectors


class Counting:
    """The real encoder, and how many texts it was asked for."""

    def __init__(self, encoder: TransformerEncoder) -> None:
        self._encoder, self.count = encoder, 0
        self.id, self.dimension = encoder.id, encoder.dimension

    def encode(
        self, texts: Sequence[str], kind: TextKind = "query", on_progress: ProgressCallback | None = None
    ) -> Vectors:
        self.count += len(texts)
        return self._encoder.encode(texts, kind, on_progress)


@pytest.fixture
def index(encoder: TransformerEncoder, shop: list[Entry]) -> Index:
    index = Index.open(None, encoder)
    index.synchronise(shop)
    return index


def first(index: Index, query: str) -> str | None:
    hits = index.search(query).hits
    return hits[0].id if hits else None


def test_the_right_entry_is_first(index: Index) -> None:
    asked = {
        "东西不想要了怎么退": "return",
        "想换成红色的": "exchange",
        "什么时候给我开发票": "invoice",
        "客服几点到岗": "hours",
    }
    assert {query: first(index, query) for query in asked} == asked


def test_word_for_word_is_answered_in_any_script_and_width(index: Index) -> None:
    for query in ("怎么退货？", "怎麼退貨", "　怎么退货　"):
        found = index.search(query)
        assert (found.hits[0].id, found.hits[0].score, found.decision) == ("return", 1.0, "answer")
        assert found.probability > 0.99


def test_a_model_number_decides(index: Index) -> None:
    assert first(index, "9078 能进洗碗机吗") == "pan"
    assert first(index, "ppr9087可以用洗碗机洗吗") == "pot"


def test_strangers_get_no_answer(index: Index) -> None:
    for query in ("宇宙有多大", "写一首关于春天的诗", "asdfgh", "？？？", "😀"):
        found = index.search(query)
        assert found.decision != "answer", query
        assert 0 <= found.probability <= 1
    assert index.search("宇宙有多大").decision == "none"


def test_empty_queries_and_an_empty_index(index: Index, encoder: TransformerEncoder) -> None:
    assert index.search("  \n").hits == ()
    nothing = Index.open(None, encoder).search("怎么退货")
    assert (nothing.hits, nothing.decision, nothing.probability, nothing.options) == ((), "none", 0.0, ())


def test_a_negative_question_sends_the_query_elsewhere(index: Index) -> None:
    assert first(index, "怎么换货") == "exchange"
    assert "return" not in [hit.id for hit in index.search("怎么换货").hits]


def test_disabled_entries_are_not_found_and_come_back(index: Index, shop: list[Entry]) -> None:
    index.apply([replace(shop[0], enabled=False)])
    assert "return" not in [hit.id for hit in index.search("怎么退货").hits]
    index.apply([shop[0]])
    assert first(index, "怎么退货") == "return"


def test_changes_are_found_at_once(index: Index) -> None:
    report = index.apply(
        [Entry("new", "可以刻字吗", "可以。"), Entry("points", "会员等级怎么升", "多买。")], ["invoice", "unknown"]
    )
    assert report == SyncReport(added=1, updated=1, removed=1, encoded=2)
    assert first(index, "能不能帮我刻个名字") == "new"
    assert index.search("积分什么时候过期").hits[0].score < 1
    assert "invoice" not in [hit.id for hit in index.search("发票什么时候开").hits]
    assert index.apply([Entry("new", "可以刻字吗", "另一个答案。")]) == SyncReport(unchanged=1)


def test_synchronise_removes_what_is_gone(index: Index, shop: list[Entry]) -> None:
    report = index.synchronise(shop[:4])
    assert (report.removed, report.unchanged, report.encoded) == (len(shop) - 4, 4, 0)
    assert index.size.entries == 4


def test_passages_are_searched_beside_entries(index: Index) -> None:
    index.apply(
        [
            Passage("p1", "d", "保修政策", "整机保修二十四个月，人为损坏不在保修范围。"),
            Passage("p2", "d", "配送", "偏远地区加收运费。"),
        ]
    )
    found = index.search("摔坏了还保修吗")
    assert found.passages[0].id == "p1"
    assert found.passages[0].kind == "passage"
    assert all(hit.kind == "faq" for hit in found.hits)
    index.apply(removals=["p1"])
    assert [hit.id for hit in index.search("摔坏了还保修吗").passages] == ["p2"]


def test_one_entry_of_very_many_wordings_hides_no_other(index: Index) -> None:
    index.apply([Entry("many", "退货问题0", "x", tuple(f"退货问题{i}怎么退" for i in range(1, 80)))])
    assert len({hit.id for hit in index.search("退货问题怎么退", 10).hits}) == 10


def test_options_when_asking_back(index: Index) -> None:
    index.calibration = index.calibration.with_thresholds(answer=1.0, clarify=0.0)
    found = index.search("退换货")
    assert found.decision == "clarify"
    assert 1 <= len(found.options) <= 3
    assert found.options[0] == found.hits[0].id


def test_dense_only_ranks_by_similarity(index: Index) -> None:
    found = index.search("退货运费谁出呀", dense_only=True)
    assert [hit.dense for hit in found.hits] == sorted((hit.dense for hit in found.hits), reverse=True)
    assert found.score == found.hits[0].score == pytest.approx(found.hits[0].dense)


def test_a_restart_encodes_nothing_and_leaves_nothing_of_what_was_deleted(
    tmp_path: Path, encoder: TransformerEncoder, shop: list[Entry]
) -> None:
    before = Index.open(tmp_path, encoder)
    before.synchronise(shop)
    before.apply(removals=["invoice"])
    before.save()
    vectors = store.load(tmp_path, encoder.id, encoder.dimension).vectors
    assert store.key("发票什么时候开", "query") not in vectors or "发票什么时候开" in _generic()
    assert store.key("能开专票吗", "query") not in vectors
    assert "能开专票吗".encode() not in (tmp_path / store.FILE_NAME).read_bytes()

    counting = Counting(encoder)
    after = Index.open(tmp_path, counting)
    report = after.synchronise([entry for entry in shop if entry.id != "invoice"])
    assert (report.encoded, counting.count, after.note) == (0, 0, None)
    for query in ("怎么退", "能开专票吗", "9087"):
        old, new = before.search(query), after.search(query)
        assert [hit.id for hit in new.hits] == [hit.id for hit in old.hits]
        assert [hit.score for hit in new.hits] == pytest.approx([hit.score for hit in old.hits], abs=1e-4)
    assert all(hit.id != "invoice" for hit in after.search("能开专票吗").hits)


def _generic() -> tuple[str, ...]:
    from knowledge.index import GENERIC_QUESTIONS

    return GENERIC_QUESTIONS


def test_a_snapshot_of_another_encoder_is_left_alone(
    tmp_path: Path, encoder: TransformerEncoder, shop: list[Entry]
) -> None:
    index = Index.open(tmp_path, encoder)
    index.synchronise(shop)
    index.save()
    other = Counting(encoder)
    other.id = "another"
    fresh = Index.open(tmp_path, other)
    assert fresh.note is not None
    assert fresh.synchronise(shop).encoded > 0
    assert first(fresh, "怎么退货") == "return"


@pytest.mark.slow
def test_searches_go_on_while_entries_come_and_go(encoder: TransformerEncoder, shop: list[Entry]) -> None:
    index = Index.open(None, encoder)
    index.synchronise(shop)
    stop, errors, waits = threading.Event(), [], []

    def search() -> None:
        while not stop.is_set():
            started = time.perf_counter()
            try:
                # Both wordings of this entry change together; a search must never see neither.
                assert any(hit.id == "flip" for hit in index.search("怎么退货").hits)
            except Exception as error:  # noqa: BLE001 - whatever it is, the test reports it
                errors.append(error)
                return
            waits.append(time.perf_counter() - started)

    index.apply([Entry("flip", "怎么退货呢", "一")])
    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for round_ in range(6):
        index.apply([Entry("flip", f"怎么退货呢{'啊' * (round_ % 2)}", "二")])
        index.apply([Entry(f"bulk-{i}", f"第 {round_} 批商品 {i} 有货吗", "有") for i in range(40)])
        index.apply(removals=[f"bulk-{i}" for i in range(0, 40, 2)])
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(waits) > 20
    assert index.size.entries == len(shop) + 1 + 20
