import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from knowledge.report import reliability, risk_coverage, write

QUERIES: list[dict[str, Any]] = [
    {"query": "怎么退货", "faq_id": "a", "type": "in"},
    {"query": "发票<b>", "faq_id": "b", "type": "in"},
    {"query": "天气", "faq_id": None, "type": "oos_open"},
    {"query": "包邮吗", "faq_id": "c", "faq_ids": ["c", "d"], "type": "in"},
]
PREDICTIONS: list[dict[str, Any]] = [
    {"query": "怎么退货", "ranked": ["a"], "probability": 0.9, "decision": "answer", "score": 0.9},
    {"query": "发票<b>", "ranked": ["a", "b"], "probability": 0.8, "decision": "answer", "score": 0.8},
    {"query": "天气", "ranked": ["a"], "probability": 0.1, "decision": "none", "score": 0.1},
    {"query": "包邮吗", "ranked": ["d"], "probability": 0.7, "decision": "answer", "score": 0.7},
]


def test_the_surest_are_answered_first_and_the_wrong_among_them_counted() -> None:
    assert risk_coverage(QUERIES, PREDICTIONS) == [(0.25, 0.0), (0.5, 0.5), (0.75, 1 / 3), (1.0, 0.5)]


def test_bins_hold_mean_probability_and_share_right() -> None:
    assert reliability(QUERIES, PREDICTIONS) == [(0.1, 0.0), (0.7, 1.0), (0.8, 0.0), (0.9, 1.0)]


def test_a_page_two_pictures_and_the_figures_are_written(tmp_path: Path) -> None:
    written = write(
        tmp_path / "out", QUERIES, PREDICTIONS, {"hit@1": 2 / 3, "auroc": {"oos_open": 1.0}}, {"a": "退<货>"}.get
    )
    assert sorted(path.name for path in written) == [
        "index.html",
        "reliability.svg",
        "report.json",
        "risk-coverage.svg",
    ]
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "0.6667" in page
    assert "排第一的就是对的" in page
    assert "发票&lt;b&gt;" in page
    assert "退&lt;货&gt;<small>a</small></td><td>b</td>" in page
    assert "怎么退货" not in page.split("Answered wrongly", 1)[1]
    for name in ("reliability.svg", "risk-coverage.svg"):
        picture = ET.parse(tmp_path / "out" / name).getroot()  # noqa: S314 - written by the line above
        line = picture.find("{http://www.w3.org/2000/svg}polyline")
        assert line is not None
        assert len(line.attrib["points"].split()) >= 4
    assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["hit@1"] == 2 / 3


def test_no_questions_make_an_empty_page(tmp_path: Path) -> None:
    write(tmp_path, [], [], {})
    assert (tmp_path / "index.html").is_file()
