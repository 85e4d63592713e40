import threading
from pathlib import Path

import numpy as np
import pytest

from knowledge import ann, dense, store
from knowledge.dense import DenseIndex
from knowledge.segments import Ids
from knowledge.store import Store
from knowledge.types import Vectors

DIMENSION = 32
GROUPS = 60


def clustered(count: int, seed: int = 0) -> Vectors:
    """Unit vectors in groups, as questions on the same subject are."""
    centres = np.random.default_rng(99).normal(size=(GROUPS, DIMENSION))
    random = np.random.default_rng(seed)
    found = centres[random.integers(GROUPS, size=count)] + 0.5 * random.normal(size=(count, DIMENSION))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


class Made:
    def __init__(self, folder: Path | None, low: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        if low:
            monkeypatch.setattr(dense, "EXACT_MAX", 500)
        self.store = Store(folder, "e", DIMENSION)
        self.index = DenseIndex(self.store)
        self.lock = threading.Lock()
        self.count = self.store.rows

    def add(self, count: int) -> Ids:
        names = [store.key(str(number), "query") for number in range(self.count, self.count + count)]
        ids = self.store.put(names, clustered(count, seed=self.count))
        self.index.add(ids)
        self.count += count
        return ids

    def rebuild(self) -> None:
        self.index.rebuild(self.lock, threading.Event())


def recall(made: Made, members: Ids, queries: int = 100) -> float:
    """Of the ten truly nearest, how many are among the forty candidates."""
    every = made.store.view.vectors(members)
    hits = 0
    for query in clustered(queries, seed=12345):
        true = members[np.argsort(-(every @ query))[:10]]
        hits += len(np.intersect1d(true, made.index.search(query, 40)))
    return hits / (10 * queries)


@pytest.fixture(params=["exact", "approximate"])
def made(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Made:
    made = Made(None, request.param == "approximate", monkeypatch)
    made.add(4000)
    made.rebuild()
    assert made.index.is_exact == (request.param == "exact")
    return made


def test_the_nearest_are_found(made: Made) -> None:
    assert recall(made, np.arange(4000)) > (0.9999 if made.index.is_exact else 0.98)


def test_an_empty_index_and_one_asked_for_more_than_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(None, low=False, monkeypatch=monkeypatch)
    assert made.index.search(clustered(1)[0], 5).tolist() == []
    made.add(3)
    assert sorted(made.index.search(clustered(1)[0], 5).tolist()) == [0, 1, 2]


def test_what_goes_is_gone_at_once_and_what_comes_is_there(made: Made) -> None:
    query = made.store.view.vectors(np.array([17]))[0]
    assert made.index.search(query, 5)[0] == 17
    near = made.index.search(query, 200)
    made.index.remove(near)
    assert not np.isin(made.index.search(query, 200), near).any()
    made.index.add(near[:50])
    assert np.isin(near[:10], made.index.search(query, 40)).all()
    (new,) = made.store.put([store.key("new", "query")], query.reshape(1, -1))
    made.index.add(np.array([new]))
    assert new in made.index.search(query, 2)
    members = np.setdiff1d(np.arange(4001), near[50:])
    assert len(made.index) == len(members)
    assert recall(made, members) > 0.98


def test_changes_during_a_rebuild_are_in_what_it_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(None, low=True, monkeypatch=monkeypatch)
    made.add(4000)
    assert made.index.is_outgrown
    begun, go_on = threading.Event(), threading.Event()
    build = ann.build

    def slow(*args: object) -> object:
        begun.set()
        assert go_on.wait(60)
        return build(*args)

    monkeypatch.setattr(ann, "build", slow)
    thread = threading.Thread(target=made.rebuild)
    thread.start()
    assert begun.wait(60)
    with made.lock:
        made.index.remove(np.arange(100))
        late = made.add(2500)
        assert 50 not in made.index.search(made.store.view.vectors(np.array([50]))[0], 40)
    go_on.set()
    thread.join()
    assert not made.index.is_exact
    members = np.arange(100, 6500)
    assert late[-1] == members[-1]
    assert len(made.index) == len(members)
    assert recall(made, members) > 0.98


def test_it_becomes_exact_again_when_little_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(None, low=True, monkeypatch=monkeypatch)
    made.add(2000)
    made.rebuild()
    assert not made.index.is_exact
    assert not made.index.is_outgrown
    made.index.remove(np.arange(1900))
    assert made.index.is_outgrown
    made.rebuild()
    assert made.index.is_exact
    assert not made.index.is_outgrown
    assert recall(made, np.arange(1900, 2000)) > 0.9999


def test_a_restart_needs_no_rebuild(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Made(tmp_path, low=True, monkeypatch=monkeypatch)
    before.add(3000)
    before.rebuild()
    before.store.save(files={"faq": before.index.write})
    assert not before.index.is_worth_saving
    before.add(200)
    before.index.remove(np.arange(50))
    before.store.save(files={"faq": None})
    before.store.close()
    after = Made(tmp_path, low=True, monkeypatch=monkeypatch)
    after.index.read(after.store.files["faq"])
    assert len(after.index) == 0
    assert after.index.search(clustered(1)[0], 5).tolist() == []
    members = np.arange(50, 3200)
    after.index.add(members)
    assert not after.index.is_exact
    assert not after.index.is_outgrown
    assert recall(after, members) > 0.98


def test_a_rebuild_that_is_stopped_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(None, low=True, monkeypatch=monkeypatch)
    made.add(1000)
    stop = threading.Event()
    stop.set()
    with pytest.raises(ann.StoppedError):
        made.index.rebuild(made.lock, stop)
    assert made.index.is_exact
    assert recall(made, np.arange(1000)) > 0.9999


def test_a_file_of_another_kind_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(None, low=False, monkeypatch=monkeypatch)
    (tmp_path / "x").write_bytes(b"no index at all")
    with pytest.raises(ValueError, match=r"read|index"):
        made.index.read(tmp_path / "x")


def test_a_search_wakes_no_other_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A team for one query only spins where others have the cores: `tests/benchmarks/busy.py`."""
    import faiss

    made = Made(tmp_path, low=False, monkeypatch=monkeypatch)
    made.add(50)
    told: list[tuple[int, int]] = []

    def search() -> None:
        faiss.omp_set_num_threads(4)
        before = faiss.omp_get_max_threads()
        made.index.search(clustered(1)[0], 5)
        told.append((before, faiss.omp_get_max_threads()))

    thread = threading.Thread(target=search)
    thread.start()
    thread.join()
    assert told == [(4, 1)]
