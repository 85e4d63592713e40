import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from knowledge import store
from knowledge.errors import SnapshotError
from knowledge.store import Store
from knowledge.types import Vectors

DIMENSION = 8


def keys(*numbers: int) -> list[bytes]:
    return [store.key(f"text {number}", "query") for number in numbers]


def rows(*numbers: int, dimension: int = DIMENSION) -> Vectors:
    """Unit vectors that can be told apart by their number."""
    found = np.stack([np.random.default_rng(number).normal(size=dimension) for number in numbers])
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def opened(folder: Path, encoder: str = "e1", dimension: int = DIMENSION) -> Store:
    return Store(folder, encoder, dimension)


def saved(folder: Path, *numbers: int) -> Store:
    """A store with these texts, one save each."""
    made = opened(folder)
    for number in numbers:
        made.put(keys(number), rows(number))
        made.save()
    return made


def segments_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.vectors"), key=lambda path: path.stat().st_size)


def test_what_is_saved_is_there_with_its_ids_and_to_the_last_bit(tmp_path: Path) -> None:
    before = opened(tmp_path / "index")
    numbers = range(50)
    ids = before.put(keys(*numbers), rows(*numbers))
    seen, similar = before.view.vectors(ids), before.view.similarities(ids, rows(7)[0])
    before.save()
    assert np.abs(seen - rows(*numbers)).max() < 1e-3
    assert (before.view.vectors(ids) == seen).all()
    before.close()
    after = opened(tmp_path / "index")
    assert after.notes == []
    assert (after.find(keys(*numbers)) == ids).all()
    assert (after.view.vectors(ids) == seen).all()
    assert (after.view.similarities(ids[::-1], rows(7)[0]) == similar[::-1]).all()
    assert after.find(keys(99)).tolist() == [-1]
    assert after.put(keys(99), rows(99)).tolist() == [50]


def test_an_edit_writes_little_and_segments_stay_few(tmp_path: Path) -> None:
    made = opened(tmp_path)
    made.put(keys(*range(2000)), rows(*range(2000)))
    made.save()
    (large,) = segments_in(tmp_path)
    for number in range(2000, 2100):
        made.put(keys(number), rows(number))
        made.save()
        assert large in segments_in(tmp_path)
        assert len(segments_in(tmp_path)) <= 8
    made.close()
    again = opened(tmp_path)
    ids = again.find(keys(*range(2100)))
    assert ids.tolist() == list(range(2100))
    assert np.abs(again.view.vectors(ids) - rows(*range(2100))).max() < 1e-3


def test_rows_that_are_not_needed_go_when_they_are_many(tmp_path: Path) -> None:
    made = opened(tmp_path)
    ids = made.put(keys(*range(100)), rows(*range(100)))
    made.save()
    view = made.view
    made.save(needed=ids[:40])
    assert made.rows == 40
    assert made.find(keys(3, 70)).tolist() == [3, -1]
    assert (view.vectors(ids[70:71]) == rows(70).astype(np.float16)).all(), "who still reads is not disturbed"
    with pytest.raises(KeyError):
        made.view.vectors(ids[70:71])
    assert made.put(keys(200), rows(200)).tolist() == [100], "no id is given twice"
    made.save(needed=np.array([0]))
    made.close()
    assert opened(tmp_path).find(keys(0, 200)).tolist() == [0, -1]


def test_another_encoders_index_is_not_used(tmp_path: Path) -> None:
    saved(tmp_path, 1).close()
    for encoder, dimension in (("e2", 8), ("e1", 16)):
        other = opened(tmp_path, encoder, dimension)
        assert other.rows == 0
        assert "另一个向量模型" in other.notes[0][0]
        other.close()
    assert opened(tmp_path).rows == 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "garbage", "gone"])
def test_a_damaged_segment_costs_its_own_rows_only(tmp_path: Path, damage: str) -> None:
    made = saved(tmp_path)
    made.put(keys(*range(40)), rows(*range(40)))
    made.save()
    made.put(keys(50), rows(50))
    made.save()
    made.close()
    path = segments_in(tmp_path)[-1]
    data = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    else:
        data[-5] ^= 1
        new = {"cut": data[: len(data) // 2], "flipped": data, "empty": b"", "garbage": b"not at all" * 40}
        path.write_bytes(new[damage])
    found = opened(tmp_path)
    assert found.rows == 1
    assert found.find(keys(0, 50)).tolist() == [-1, 40]
    assert "损坏" in found.notes[0][0]
    assert found.put(keys(0), rows(0)).tolist() == [41]
    found.save()
    found.close()
    again = opened(tmp_path)
    assert again.notes == []
    assert again.find(keys(0, 50)).tolist() == [41, 40]


@pytest.mark.parametrize(
    "damage", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"sha256": "0", "index": {"format": "x"}}', None]
)
def test_a_damaged_manifest_is_noticed(tmp_path: Path, damage: bytes | None) -> None:
    saved(tmp_path, 1, 2).close()
    path = tmp_path / store.MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"next_id": 2', b'"next_id": 1') if damage is None else damage)
    found = opened(tmp_path)
    assert found.rows == 0
    assert found.notes or damage == b""
    found.put(keys(1), rows(1))
    found.save()
    found.close()
    assert opened(tmp_path).find(keys(1)).tolist() == [0]


def test_other_files_are_kept_checked_and_dropped(tmp_path: Path) -> None:
    made = saved(tmp_path, 1)
    made.save(files={"faq": lambda path: path.write_bytes(b"an index") and None})
    made.put(keys(2), rows(2))
    made.save(files={"faq": None})
    made.close()
    again = opened(tmp_path)
    assert again.files["faq"].read_bytes() == b"an index"
    again.close()
    again.files["faq"].write_bytes(b"an indey")
    third = opened(tmp_path)
    assert "faq" not in third.files
    assert third.notes
    third.save()
    assert not list(tmp_path.glob("*.faq"))


def test_the_second_to_open_a_folder_reads_and_does_not_write(tmp_path: Path) -> None:
    first = saved(tmp_path, 1)
    second = opened(tmp_path)
    assert second.find(keys(1)).tolist() == [0]
    second.put(keys(5), rows(5))
    second.save()
    first.put(keys(2), rows(2))
    first.save()
    first.close()
    second.save()  # what it would write does not know of the first one's
    assert opened(tmp_path).find(keys(1, 2, 5)).tolist() == [0, 1, -1]


SAVER = """
import sys
from pathlib import Path
import numpy as np
from knowledge import store
made = store.Store(Path(sys.argv[1]), "e", 64)
number = made.rows
print("ready", flush=True)
while True:
    keys = [store.key(f"text {number + i}", "query") for i in range(50)]
    rows = np.repeat(np.arange(number, number + 50)[:, None], 64, axis=1) % 1000
    made.put(keys, rows.astype(np.float32))
    number += 50
    made.save(files={"faq": lambda path: path.write_bytes(b"x" * 100_000)})
    print(number, flush=True)
"""


def kill_while_saving(folder: Path, points: int) -> None:
    """Kills a process that adds, saves and merges without pause: each time all it said to be saved must be there."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    pause = random.Random(7)
    for _ in range(points):
        child = subprocess.Popen([sys.executable, "-c", SAVER, str(folder)], stdout=subprocess.PIPE, env=environment)
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(pause.uniform(0, 0.3))
        child.send_signal(signal.SIGKILL)
        child.wait()
        promised = int((child.stdout.read().split(b"\n")[:-1] or [b"0"])[-1])
        child.stdout.close()
        found = Store(folder, "e", 64)
        assert found.notes == []
        assert found.rows >= promised
        assert found.rows % 50 == 0, "half of a save is there"
        ids = found.find(keys(*range(found.rows)))
        assert ids.min(initial=0) >= 0
        assert (found.view.vectors(ids)[:, 0] == np.arange(found.rows) % 1000).all()
        names = {path.name for path in folder.iterdir()}
        assert not [name for name in names if name.endswith(".part")], "what was cut off is cleared away"
        assert len(names) <= 12
        found.close()


@pytest.mark.slow
def test_kill_9_while_saving(tmp_path: Path) -> None:
    kill_while_saving(tmp_path, 6)


@pytest.mark.soak
def test_kill_9_while_saving_at_200_points(tmp_path: Path) -> None:
    kill_while_saving(tmp_path, 200)


def test_a_full_disk_is_one_sentence_and_what_was_saved_stays(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2, 3, 4).close()
    before = {path.name for path in tmp_path.iterdir()}
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\nimport numpy as np\nfrom knowledge import store\n"
        "from knowledge.errors import SnapshotError\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))\n"
        "made = store.Store(Path(sys.argv[1]), 'e1', 8)\n"
        "made.put([store.key(str(i), 'query') for i in range(5000)], np.ones((5000, 8), np.float32))\n"
        "try:\n    made.save()\nexcept SnapshotError as error:\n    print(error.code)\n"
        "print((made.find([store.key('7', 'query')]) >= 0).all())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["index_not_saved", "True"]
    assert opened(tmp_path).rows == 4
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    made = Store(tmp_path / "file" / "index", "e", DIMENSION)
    made.put(keys(1), rows(1))
    with pytest.raises(SnapshotError) as caught:
        made.save()
    assert "原有的索引没有变化" in str(caught.value)
