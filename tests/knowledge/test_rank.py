import numpy as np
import pytest

from knowledge.calibrate import Calibration, fit, fit_logistic, shipped
from knowledge.errors import KnowledgeError
from knowledge.lexical import LexicalIndex
from knowledge.rank import FEATURES, Background, decide, features, fold, options
from knowledge.text import tokens
from knowledge.types import Hit, SearchResult
from tests.knowledge.matching import Match, rank

GROUND = Background(0.8, 0.02)


def test_an_entry_counts_by_its_best_wording() -> None:
    hits = rank([Match("a", "甲", 0.9, 0), Match("b", "乙", 0.93, 0), Match("a", "丙", 0.95, 0)], GROUND)
    assert [(hit.id, hit.phrasing) for hit in hits] == [("a", "丙"), ("b", "乙")]


def test_one_wording_of_many_that_comes_near_by_chance_is_held_back_by_the_others() -> None:
    def first(*others: float) -> str:
        a = [Match("a", "", similar, 0) for similar in (0.92, *others)]
        return rank([*a, Match("b", "", 0.91, 0)], GROUND)[0].id

    assert first() == first(0.91) == first(0.919, 0.915, 0.905) == "a"
    assert first(0.82) == first(0.85, 0.84, 0.83) == "b"


def test_far_wordings_cost_an_entry_no_more_than_two_deviations() -> None:
    far = [Match("a", "", 0.95, 0), *(Match("a", "", 0.2, 0) for _ in range(50))]
    (hit,) = rank(far, GROUND, dense_only=True)
    assert 0.95 - 2 * GROUND.deviation < hit.score < 0.95 - GROUND.deviation
    assert (hit.dense, hit.phrasing) == (pytest.approx(0.95), "")
    (same,) = rank([Match("a", "", 0.95, 0)] * 3, GROUND, dense_only=True)
    assert same.score == pytest.approx(0.95)


def test_words_decide_between_equals_and_not_against_meaning() -> None:
    assert [hit.id for hit in rank([Match("a", "", 0.9, 0.1), Match("b", "", 0.9, 0.8)], GROUND)] == ["b", "a"]
    assert [hit.id for hit in rank([Match("a", "", 0.95, 0), Match("b", "", 0.87, 1)], GROUND)] == ["a", "b"]
    found = rank([Match("a", "", 0.91, 0), Match("b", "", 0.9, 1)], GROUND, dense_only=True)
    assert [hit.id for hit in found] == ["a", "b"]


def test_word_for_word_comes_first_with_score_one() -> None:
    hits = rank([Match("a", "", 1.0, 1.0), Match("b", "", 0.7, 1, exact=True)], GROUND)
    assert (hits[0].id, hits[0].score) == ("b", 1.0)
    assert hits[1].score < 1


def test_a_negative_question_pushes_its_entry_down() -> None:
    matches = [Match("a", "", 0.92, 0), Match("a", "", 0.97, 0, negative=True), Match("b", "", 0.9, 0)]
    assert [hit.id for hit in rank(matches, GROUND)] == ["b", "a"]
    farther = [Match("a", "", 0.92, 0), Match("a", "", 0.91, 0, negative=True), Match("b", "", 0.9, 0)]
    assert [hit.id for hit in rank(farther, GROUND)] == ["a", "b"]
    asked = [Match("a", "", 0.99, 0), Match("a", "", 1.0, 1, negative=True, exact=True)]
    assert rank(asked, GROUND) == []


def test_the_words_tell_a_short_question_from_its_entrys_negative_one() -> None:
    """退货 is nearer to 怎么换货 than to 怎么退货, by a hair: the frame is shared, the words are not."""
    matches = [
        Match("a", "怎么退货", 0.92, 0.8),
        Match("a", "怎么换货", 0.93, 0.3, negative=True),
        Match("b", "", 0.9, 0),
    ]
    best = rank(matches, GROUND)[0]
    assert (best.id, best.penalty) == ("a", 0.0)
    swapped = [
        Match("a", "怎么退货", 0.93, 0.3),
        Match("a", "怎么换货", 0.92, 0.8, negative=True),
        Match("b", "", 0.9, 0),
    ]
    assert rank(swapped, GROUND)[0].id == "b"


def test_of_entries_that_ask_the_same_the_one_changed_last_stands_for_all() -> None:
    hits = rank(
        [Match("x", "", 0.97, 1), Match("old", "", 0.95, 1), Match("y", "", 0.93, 0), Match("new", "", 0.9, 0)], GROUND
    )
    questions = {"x": "别的", "old": "怎么退货", "y": "还有", "new": "怎么退货"}
    every, single = fold(hits, questions, {"x": 9, "old": 1, "y": 9, "new": 2}.__getitem__)
    assert [(hit.id, hit.same_as) for hit in every] == [("x", None), ("new", None), ("old", "new"), ("y", None)]
    assert {hit.id: hit.score for hit in every} == {hit.id: hit.score for hit in hits}, "each keeps its own scores"
    assert [(hit.id, hit.score) for hit in single] == [
        (hit.id if hit.id != "old" else "new", hit.score) for hit in hits[:3]
    ]
    every, single = fold(hits, questions, {"x": 9, "old": 3, "y": 9, "new": 2}.__getitem__)
    assert [(hit.id, hit.same_as) for hit in every] == [("x", None), ("old", None), ("y", None), ("new", "old")]
    assert single == hits[:3]
    assert fold(hits, {}, str) == (hits, hits), "what is deleted meanwhile is the same as nothing"


def test_features_of_few_and_of_none() -> None:
    assert features([], GROUND) == (0.0,) * len(FEATURES)
    one = features(rank([Match("a", "", 0.9, 0.5)], GROUND), GROUND)
    assert len(one) == len(FEATURES)
    assert one[0] == pytest.approx(5)
    assert np.isfinite(one).all()


def test_options_leave_junk_out() -> None:
    hits = [Hit(str(i), "faq", "", s, 0, s) for i, s in enumerate((0.95, 0.94, 0.8, 0.79))]
    assert options(hits, GROUND) == ("0", "1")
    assert options([], GROUND) == ()
    assert len(options([Hit(str(i), "faq", "", 0.9, 0, 0.9) for i in range(9)], GROUND)) == 3


def test_decisions() -> None:
    assert [decide(p, 0.7, 0.2) for p in (0.7, 0.69, 0.2, 0.19)] == ["answer", "clarify", "clarify", "none"]


def test_calibration_round_trip_and_refusals() -> None:
    assert Calibration.from_json(shipped().to_json()) == shipped()
    for text in ("", "{}", '{"features": ["x"]}', shipped().to_json().replace("-", "x")):
        with pytest.raises(KnowledgeError):
            Calibration.from_json(text)
    assert shipped().with_thresholds(answer=0.05).clarify_threshold == 0.05
    with pytest.raises(KnowledgeError):
        shipped().with_thresholds(answer=1.5)
    with pytest.raises(KnowledgeError):
        shipped().with_thresholds(answer=0.5, clarify=0.6)


def test_an_exact_question_is_answered_unless_two_entries_share_it() -> None:
    one, two = (
        [Match("a", "", 0.9, 1, exact=True)],
        [Match("a", "", 0.9, 1, exact=True), Match("b", "", 0.9, 1, exact=True)],
    )
    assert shipped().probability(features(rank(one, GROUND), GROUND)) > 0.99
    assert shipped().probability(features(rank(two, GROUND), GROUND)) < 0.5


def test_logistic_regression_finds_the_coefficients_that_made_the_data() -> None:
    random = np.random.default_rng(0)
    seen = random.normal(size=(20_000, 2))
    chance = 1 / (1 + np.exp(-(2 * seen[:, 0] - 1 * seen[:, 1] + 0.5)))
    found = fit_logistic(seen, (random.random(20_000) < chance).astype(float), start=np.zeros(3), strength=1e-3)
    np.testing.assert_allclose(found, [2, -1, 0.5], atol=0.1)


def test_fitting_moves_with_the_evidence() -> None:
    def result(similarity: float) -> SearchResult:
        known = {"similarity": similarity, "margin": 1.0, "lexical": 0.3, "lexical_margin": 0.1, "lead": 2.0}
        known |= {"near_lead": 1.0, "coverage": 0.5, "coverage_margin": 0.1}
        seen = tuple(known.get(name, 0.0) for name in FEATURES)
        return SearchResult("", (Hit("a", "faq", "", 0.9, 0, 0.9),), (), "none", 0, 0, (), seen)

    before = shipped()
    sample = result(3.0)
    some = fit([result(s) for s in np.linspace(2, 5, 10)], [{"a"}] * 10)
    many = fit([result(s) for s in np.linspace(2, 5, 3000)], [{"a"}] * 3000)
    chances = [c.probability(sample.features) for c in (before, some, many)]
    assert chances[0] < chances[1] < chances[2]
    assert fit([], []) == before
    assert (many.answer_threshold, many.clarify_threshold) == (before.answer_threshold, before.clarify_threshold)


def test_bm25_prefers_rare_words_and_forgets_what_is_removed() -> None:
    index = LexicalIndex()
    for slot, text in enumerate(["怎么退货", "怎么换货", "怎么开发票", "怎么用优惠券", "PPR-9087 怎么用"]):
        index.add(slot, tokens(text))
    assert int(index.scores(tokens("发票")).argmax()) == 2
    assert int(index.scores(tokens("ppr9087")).argmax()) == 4
    assert index.scores(tokens("怎么退货"))[0] == pytest.approx(1, abs=0.25)
    assert not index.scores(tokens("xyz")).any()
    index.remove(2)
    index.remove(2)
    assert index.scores(tokens("发票"))[2] == 0
    index.add(2, tokens("怎么退货"))
    assert len(index) == 5
    scores = index.scores(tokens("怎么退货"))
    assert scores[2] == scores[0]


def test_bm25_kept_in_step_equals_bm25_built_anew() -> None:
    texts = [f"订单{i % 7}的发票{i}什么时候寄到{'北京' if i % 3 else '上海'}" for i in range(60)]
    moved = LexicalIndex()
    for slot, text in enumerate(texts):
        moved.add(slot, tokens("旧的" + text))
    for slot, text in enumerate(texts):
        moved.scores(tokens(text))
        moved.add(slot, tokens(text))
    fresh = LexicalIndex()
    for slot, text in enumerate(texts):
        fresh.add(slot, tokens(text))
    asked = tokens("北京的发票12什么时候到")
    np.testing.assert_allclose(moved.scores(asked), fresh.scores(asked), rtol=1e-5)


def test_among_few_entries_it_is_asked_back_from_less_on_unless_the_company_says_from_where() -> None:
    here = shipped()
    assert here.clarify_threshold_among(5000) == here.clarify_threshold_among(100) == here.clarify_threshold
    assert 0.5 < here.clarify_threshold_among(14) / here.clarify_threshold < 0.6
    assert here.clarify_threshold_among(0) == here.clarify_threshold_among(1) > 0
    assert here.with_thresholds(answer=0.5).clarify_threshold_among(14) < here.clarify_threshold
    assert here.with_thresholds(clarify=0.08).clarify_threshold_among(14) == 0.08
    assert Calibration.from_json(here.to_json()) == here
    said = here.with_thresholds(clarify=0.08)
    assert Calibration.from_json(said.to_json()) == said
