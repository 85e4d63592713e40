import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from knowledge.background import GENERIC_QUESTIONS
from knowledge.encoders import TransformerEncoder
from knowledge.index import Index
from knowledge.rank import FEATURES
from knowledge.text import plain
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


def test_an_answer_says_what_its_entry_speaks_of_and_is_known_at_once_when_it_changes(index: Index) -> None:
    def coverage(query: str) -> float:
        found = index.search(query)
        assert found.hits[0].id == "rabbit"
        return found.features[FEATURES.index("coverage")]

    index.apply([Entry("rabbit", "小动物能寄养吗", "可以，每天 30 元。")])
    assert coverage("兔子能寄养吗") < coverage("小动物能寄养") == coverage("小動物能寄養") == 1
    before = coverage("兔子能寄养吗")
    index.apply([Entry("rabbit", "小动物能寄养吗", "兔子、仓鼠可以，每天 30 元。")])
    assert coverage("兔子能寄养吗") > before
    assert coverage("兔子能寄養嗎") > before
    index.apply(removals=["rabbit"])
    index.apply([Entry("rabbit", "小动物能寄养吗", "")])
    assert coverage("兔子能寄养吗") == before


def test_a_question_differing_by_what_the_entry_never_names_is_less_sure(index: Index) -> None:
    index.apply(
        [Entry("tom", "公猫绝育多少钱", "公猫绝育 580 元。"), Entry("shots", "狗狗疫苗多少钱", "犬四联每针 120 元。")]
    )
    asked, other = index.search("公猫做绝育多少钱"), index.search("公狗做绝育多少钱")
    assert asked.hits[0].id == other.hits[0].id == "tom"
    assert asked.decision == "answer"
    assert other.probability < asked.probability


def test_a_price_list_does_not_change_the_answers_to_other_questions(index: Index) -> None:
    asked = ("退货要自己出运费吗", "发票怎么开", "今天天气怎么样")
    before = index.search_all(asked)
    index.apply(Entry(f"q{i}", f"QX-{i:04d} 绝缘表校准费用是多少？", f"{i} 元") for i in range(200))
    for old, new in zip(before, index.search_all(asked), strict=True):
        assert new.decision == old.decision, old.query
        assert [hit.id for hit in new.hits[:1]] == [hit.id for hit in old.hits[:1]] or old.decision == "none"


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


def test_a_passage_tells_how_much_more_of_the_question_it_speaks_of_than_the_first_entry(index: Index) -> None:
    assert index.search("刻字的刀具能退吗").passage_lead == 0.0
    index.apply([Passage("p1", "d", "刀具", "刻字的刀具是定制商品，不支持无理由退货。")])
    more, same = index.search("刻字的刀具能退吗"), index.search("怎么退货")
    assert 0.2 < more.passage_lead <= 1.0
    assert same.hits[0].score == 1.0
    assert -1.0 <= same.passage_lead < 0.0


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
    assert [hit.score for hit in found.hits] == sorted((hit.score for hit in found.hits), reverse=True)
    assert found.score == found.hits[0].score <= found.hits[0].dense
    assert all(hit.score <= hit.dense for hit in found.hits)


def test_a_restart_encodes_nothing_and_finds_nothing_of_what_was_deleted(
    tmp_path: Path, encoder: TransformerEncoder, shop: list[Entry]
) -> None:
    before = Index.open(tmp_path, encoder)
    before.synchronise(shop)
    before.save()
    before.apply(removals=["invoice"])
    before.save()
    found = {query: before.search(query) for query in ("怎么退", "能开专票吗", "9087")}
    before.close()
    assert all("能开专票吗".encode() not in path.read_bytes() for path in tmp_path.iterdir())

    counting = Counting(encoder)
    after = Index.open(tmp_path, counting)
    report = after.synchronise([entry for entry in shop if entry.id != "invoice"])
    assert (report.encoded, counting.count, after.note) == (0, 0, None)
    assert {query: after.search(query) for query in found} == found
    assert all(hit.id != "invoice" for hit in after.search("能开专票吗").hits)
    after.close()


def test_what_is_asked_word_for_word_waits_for_no_encoder(encoder: TransformerEncoder, shop: list[Entry]) -> None:
    counting = Counting(encoder)
    index = Index.open(None, counting)
    index.synchronise(shop)
    counting.count = 0
    for query in ("怎么退货？", "怎麼退貨", "換個顏色行嗎"):
        assert index.search(query).decision == "answer"
    assert counting.count == 0
    assert index.search("怎么退货？").hits[1].dense == pytest.approx(
        index.search("怎么退货", dense_only=True).hits[1].dense, abs=0.01
    )
    assert counting.count == 1


def test_before_anything_is_encoded_words_are_searched_and_nothing_is_answered_by_accident(
    encoder: TransformerEncoder, shop: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("knowledge.contents.TEXTS_PER_STEP", 1)
    counting = Counting(encoder)
    index = Index.open(None, counting)
    counting.count = 0
    units = [*shop, Passage("p1", "d", "保修政策", "整机保修二十四个月，人为损坏不在保修范围。")]
    report = index.place(units)
    known = {plain(text) for text in GENERIC_QUESTIONS}  # these serve the index itself
    texts = {plain(text) for entry in shop for text in (*entry.phrasings, *entry.negative_questions)} - known
    assert (report.added, counting.count) == (len(units), 0)
    assert len(texts) < index.lacking < index.size.texts
    exact = index.search("怎么退货")
    assert (exact.hits[0].id, exact.decision) == ("return", "answer")
    near = index.search("PPR-9087 炖锅可以放洗碗机吗")
    assert (near.hits[0].id, near.decision) == ("pot", "clarify")
    assert near.options[0] == "pot"
    for query in ("宇宙有多大", "东西坏了", "能用吗"):
        assert index.search(query).decision != "answer", query
    assert index.search("整机保修多久").passages[0].id == "p1"
    assert index.change([Entry("new", "可以刻字吗", "可以。")]).added == 1
    encoded = index.encode_some()
    assert index.search("能刻个名字吗").hits[0].dense > 0.8, "the newest is encoded first"
    assert index.search("能刻个名字吗").decision != "answer", "what is encoded first has no rivals yet"
    steps: list[tuple[int, int]] = []
    encoded += index.encode_lacking(lambda done, total, _note="": steps.append((done, total)))
    assert encoded == len(texts) + 2
    assert steps[-1][0] == steps[-1][1] > 0
    assert index.lacking == 0
    whole = Index.open(None, encoder)
    whole.synchronise([*units, Entry("new", "可以刻字吗", "可以。")])
    for query in ("怎么退", "9087 能洗吗", "宇宙有多大", "摔坏了还保修吗"):
        found, expected = index.search(query), whole.search(query)
        assert (found.hits[0].id, found.decision) == (expected.hits[0].id, expected.decision)
        # A text's vector depends a little on what it is batched with.
        assert found.hits[0].dense == pytest.approx(expected.hits[0].dense, abs=0.01)


def test_what_changes_while_the_rest_is_encoded_is_right_in_the_end(
    encoder: TransformerEncoder, shop: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("knowledge.contents.TEXTS_PER_STEP", 3)
    index = Index.open(None, encoder)
    index.place(shop)
    changed = replace(shop[0], question="衣服不合适能退吗")

    def change(done: int, total: int, note: str = "") -> None:
        if done > 3:
            index.apply([changed], ["invoice"])

    index.encode_lacking(change)
    whole = Index.open(None, encoder)
    whole.synchronise([changed, *(entry for entry in shop[1:] if entry.id != "invoice")])
    assert index.lacking == 0
    for query in ("衣服不合适", "开发票", "怎么退"):
        assert [hit.id for hit in index.search(query).hits] == [hit.id for hit in whole.search(query).hits]


def test_a_close_ends_the_encoding_of_the_rest(
    encoder: TransformerEncoder, shop: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("knowledge.contents.TEXTS_PER_STEP", 64)
    index = Index.open(None, encoder)
    index.place([*shop, *(Entry(f"m{n}", f"{n} 号商品怎么保养", "擦") for n in range(200))])
    calls: list[int] = []

    def close(done: int, total: int, note: str = "") -> None:
        calls.append(done)
        if done:
            index.close()

    assert 0 < index.encode_lacking(close) < 200
    assert len(calls) == 2


def test_equal_texts_of_two_entries_share_a_vector_and_neither_takes_it_along(index: Index) -> None:
    index.apply([Entry("again", "怎么退货", "也可以这样退。")])
    assert {hit.id for hit in index.search("怎么退货").hits[:2]} == {"return", "again"}
    index.apply(removals=["return"])
    found = index.search("想退货怎么弄")
    assert found.hits[0].id == "again"
    assert "return" not in {hit.id for hit in found.hits}
    index.apply(removals=["again"])
    assert not {"return", "again"} & {hit.id for hit in index.search("怎么退货").hits}


def test_beyond_the_size_for_comparing_all_it_finds_the_same(
    tmp_path: Path, encoder: TransformerEncoder, shop: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [Entry(f"m{n}", f"{n} 号商品{what}", "答") for n in range(30) for what in ("有货吗", "怎么保养", "多少钱")]
    exact = Index.open(None, encoder)
    exact.synchronise([*shop, *many])
    queries = ("东西不想要了怎么退", "3 号还有吗", "7 号商品怎么清洗", "宇宙有多大")
    monkeypatch.setattr("knowledge.dense.EXACT_MAX", 40)
    large = Index.open(tmp_path, encoder)
    large.synchronise([*shop, *many])
    assert large.wait_for_rebuild(60)
    for query in queries:
        assert large.search(query, 3).hits == exact.search(query, 3).hits
    large.apply(removals=["return"])
    large.save()
    large.close()
    assert list(tmp_path.glob("*.faq")), "the inverted file is saved"
    monkeypatch.setattr("knowledge.ann.build", None)
    again = Index.open(tmp_path, encoder)
    again.synchronise([*shop[1:], *many])
    assert again.note is None
    exact.apply(removals=["return"])
    for query in queries:
        assert again.search(query, 3).hits == exact.search(query, 3).hits
    again.close()


def test_a_snapshot_of_another_encoder_is_left_alone(
    tmp_path: Path, encoder: TransformerEncoder, shop: list[Entry]
) -> None:
    index = Index.open(tmp_path, encoder)
    index.synchronise(shop)
    index.save()
    index.close()
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
