"""Retrieval on the public question set, and how long a search takes. `make bench` prints the figures."""

import time
from pathlib import Path

import numpy as np
import pytest

from knowledge.encoders import TransformerEncoder
from knowledge.evaluate import build_index, evaluate, read_queries
from knowledge.index import Index
from knowledge.types import Entry

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]


def test_the_public_question_set(encoder_folder: Path, bench_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = bench_data / "bench" / "dev"
    index = build_index(folder / "faq.jsonl", TransformerEncoder(encoder_folder))
    _, report = evaluate(index, read_queries(folder / "queries.jsonl"))
    with capsys.disabled():
        print(report)
    assert report["hit@1"] >= 0.84
    assert report["mrr@10"] >= 0.895
    assert report["direct_correct"] >= 0.70
    assert report["direct_wrong"] <= 0.05
    assert report["direct_correct"] + report["clarify_hit"] >= 0.90
    assert report["answered"]["oos_near"] <= 0.25
    assert max(report["answered"][kind] for kind in ("oos_open", "oos_chat", "oos_other_cs")) <= 0.005


def test_a_search_of_five_thousand_entries(encoder_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = TransformerEncoder(encoder_folder)
    subjects = ("订单", "发票", "优惠券", "会员", "快递", "退款", "尺码", "保修", "充值", "地址")
    doings = ("怎么取消", "什么时候到", "可以修改吗", "为什么失败", "在哪里看")
    entries = [
        Entry(str(i), f"{subjects[i % 10]}{i}号{doings[i % 5]}{subjects[i // 10 % 10]}的事", "答") for i in range(5000)
    ]
    index = Index.open(None, encoder)
    started = time.perf_counter()
    index.synchronise(entries)
    built_s = time.perf_counter() - started
    queries = [f"我的{subjects[i % 10]}{i * 7}{doings[i % 3]}" for i in range(300)]
    for query in queries:
        index.search(query)
    waits_ms = []
    for query in queries:
        started = time.perf_counter()
        index.search(query)
        waits_ms.append((time.perf_counter() - started) * 1000)
    with capsys.disabled():
        print(f"\nbuilt in {built_s:.1f} s; search without embedding: p50 {np.percentile(waits_ms, 50):.2f} ms, "
              f"p95 {np.percentile(waits_ms, 95):.2f} ms")  # fmt: skip
    assert np.percentile(waits_ms, 50) <= 3
