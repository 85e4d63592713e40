"""An evaluation as a page to look at: how far the probabilities hold, and what answering more would cost.

Reliability diagram: DeGroot & Fienberg, The Comparison and Evaluation of Forecasters, 1983, over the bins of the
expected calibration error. Risk-coverage curve: El-Yaniv & Wiener, On the Foundations of Noise-free Selective
Classification, JMLR 2010: the questions answered in order of their probability, and the share of wrong answers among
them.
"""

import html
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from knowledge.evaluate import CALIBRATION_BINS, Prediction, Query, is_right

SIZE, MARGIN = 320, 44
LISTED = 50
MEANINGS = {
    "queries": ("问题总数", "questions in all"),
    "in_scope": ("其中知识库里有答案的", "of them with an answer in the knowledge base"),
    "hit@1": ("排第一的就是对的", "the first one found is right"),
    "hit@3": ("前三个里有对的", "a right one among the first three"),
    "mrr@10": ("对的排得多靠前", "how far ahead the right one stands"),
    "direct_correct": ("有答案的：直接答对", "with an answer: answered rightly at once"),
    "direct_wrong": ("有答案的：直接答错", "with an answer: answered wrongly"),
    "clarify_hit": ("有答案的：反问的选项里有对的", "with an answer: asked back, the right one offered"),
    "missed": ("有答案的：没有给出", "with an answer: not given"),
    "auroc": ("按概率能否与答不了的分开", "told apart by probability from what cannot be answered"),
    "answered": ("答不了却答了", "cannot be answered and was"),
    "ece": ("概率与实际差多少", "how far the probabilities are off"),
    "brier": ("概率的平方误差", "their squared error"),
}
Point = tuple[float, float]


def reliability(queries: Sequence[Query], predictions: Sequence[Prediction]) -> list[Point]:
    """(mean probability, share right) of bins of equal size, from unsure to sure; empty bins are left out."""
    ordered = sorted(_chances(queries, predictions))
    bins = [
        ordered[len(ordered) * i // CALIBRATION_BINS : len(ordered) * (i + 1) // CALIBRATION_BINS]
        for i in range(CALIBRATION_BINS)
    ]
    return [
        (sum(chance for chance, _ in part) / len(part), sum(right for _, right in part) / len(part))
        for part in bins
        if part
    ]


def risk_coverage(queries: Sequence[Query], predictions: Sequence[Prediction]) -> list[Point]:
    """(share of all questions answered, share of those answered wrongly), one point a question, the surest first."""
    ordered = sorted(_chances(queries, predictions), key=lambda one: -one[0])
    wrong, points = 0, []
    for number, (_, right) in enumerate(ordered, start=1):
        wrong += not right
        points.append((number / len(ordered), wrong / number))
    return points


def write(
    folder: Path,
    queries: Sequence[Query],
    predictions: Sequence[Prediction],
    report: Mapping[str, Any],
    question: Callable[[str], str | None] = lambda _id: None,
) -> list[Path]:
    """Write index.html, the two pictures and report.json into `folder`; `question` is that of an entry's id.

    Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    curve = risk_coverage(queries, predictions)
    pictures = {
        "reliability.svg": _picture(
            reliability(queries, predictions), "给出的概率 probability", "答对的比例 share right", 1.0, dots=True
        ),
        "risk-coverage.svg": _picture(
            _thinned(curve),
            "回答的比例 coverage",
            "其中答错的 risk",
            max((risk for _, risk in curve), default=0) or 1.0,
        ),
    }
    texts = {
        **pictures,
        "report.json": json.dumps(report, ensure_ascii=False, indent=1),
        "index.html": _page(queries, predictions, report, pictures, question),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def _chances(queries: Sequence[Query], predictions: Sequence[Prediction]) -> list[tuple[float, bool]]:
    return [(guess["probability"], is_right(query, guess)) for query, guess in zip(queries, predictions, strict=True)]


def _thinned(points: Sequence[Point], most: int = 400) -> Sequence[Point]:
    step = max(1, len(points) // most)
    return [*points[::step], *points[-1:]]


def _picture(points: Sequence[Point], across: str, up: str, top: float, *, dots: bool = False) -> str:
    """A line over 0..1, as SVG. With `dots` the points are marked and the diagonal is drawn: there everything holds."""
    inner = SIZE - 2 * MARGIN
    placed = [(MARGIN + x * inner, SIZE - MARGIN - y / top * inner) for x, y in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    low, high = MARGIN, SIZE - MARGIN
    parts = [f'<rect x="{low}" y="{low}" width="{inner}" height="{inner}" fill="none" stroke="#c9d1cf"/>']
    if dots:
        parts.append(f'<line x1="{low}" y1="{high}" x2="{high}" y2="{low}" stroke="#c9d1cf" stroke-dasharray="4 4"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="#12806a"/>' for x, y in placed]
    parts.append(f'<polyline points="{path}" fill="none" stroke="#12806a" stroke-width="2"/>')
    labels = [
        (low, high + 16, "middle", "0"), (high, high + 16, "middle", "1"), (low - 6, high, "end", "0"),
        (low - 6, low + 4, "end", f"{top:.2g}"), (SIZE / 2, SIZE - 8, "middle", across), (low, low - 12, "start", up),
    ]  # fmt: skip
    parts += [
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="12" font-family="sans-serif" fill="#35423f">'
        f"{html.escape(text)}</text>"
        for x, y, anchor, text in labels
    ]
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}" width="{SIZE}">{"".join(parts)}</svg>'


def _page(
    queries: Sequence[Query],
    predictions: Sequence[Prediction],
    report: Mapping[str, Any],
    pictures: Mapping[str, str],
    question: Callable[[str], str | None],
) -> str:
    def entry(id_: str | None) -> str:
        words = question(id_) if id_ else None
        return f"{html.escape(words)}<small>{html.escape(str(id_))}</small>" if words else html.escape(id_ or "–")

    figures = "".join(map(_figure, report.items()))
    wrong = [
        (guess["probability"], query, guess)
        for query, guess in zip(queries, predictions, strict=True)
        if guess["decision"] == "answer" and not is_right(query, guess)
    ]
    rows = "".join(
        f"<tr><td>{probability:.2f}</td><td>{html.escape(query['query'])}</td>"
        f"<td>{entry((guess['ranked'] or [None])[0])}</td><td>{entry(query['faq_id'])}</td></tr>"
        for probability, query, guess in sorted(wrong, key=lambda one: -one[0])[:LISTED]
    )
    return f"""<!doctype html><html lang="zh-CN"><meta charset="utf-8"><title>检索评估 Retrieval</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>
body {{ font: 15px/1.6 system-ui, sans-serif; color: #1d2725; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
.pictures {{ display: flex; flex-wrap: wrap; gap: 1.5rem }} figure {{ margin: 0 }} figcaption {{ max-width: 20rem }}
table {{ border-collapse: collapse; margin: 1rem 0 }} th, td {{ text-align: left; padding: .2rem .8rem .2rem 0;
border-bottom: 1px solid #e3e8e7; vertical-align: top }} th {{ font-weight: 500 }}
small {{ display: block; color: #5c6b67 }} td:first-child, .figures td {{ white-space: nowrap }}
.figures th {{ padding-right: 1.5rem }} .list {{ overflow-x: auto }}
</style><h1>检索评估 Retrieval</h1><div class="pictures">
<figure>{pictures["reliability.svg"]}<figcaption>点在虚线上，概率就可信；
在下方，说得太满。On the dashed line the probabilities hold; below it they promise too much.</figcaption></figure>
<figure>{pictures["risk-coverage.svg"]}<figcaption>向右回答得更多，向上答错得更多。
Further right more is answered, further up more of it is wrong.</figcaption></figure></div>
<table class="figures">{figures}</table><h2>答错的 Answered wrongly（{len(wrong)}）</h2>
<div class="list"><table><tr><th>概率 p</th><th>问题 question</th><th>答了 answered</th><th>应为 should be</th></tr>
{rows}</table></div></html>
"""


def _figure(one: tuple[str, Any]) -> str:
    name, value = one
    meaning = " ".join(MEANINGS.get(name, ()))
    return f"<tr><th>{html.escape(name)}<small>{html.escape(meaning)}</small></th><td>{_shown(value)}</td></tr>"


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "".join(f"<div>{html.escape(str(name))} {_shown(one)}</div>" for name, one in value.items())
    return f"{value:.4f}" if isinstance(value, float) else html.escape(str(value))
