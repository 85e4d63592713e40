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
from knowledge.types import Vectors


def sample(count: int, seed: int = 0) -> dict[bytes, Vectors]:
    rows = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    return {store.key(f"text {seed} {i}", "query"): row for i, row in enumerate(rows)}


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    store.save(tmp_path / "index", "e1", 8, sample(20))
    found = store.load(tmp_path / "index", "e1", 8)
    assert found.note is None
    assert found.vectors.keys() == sample(20).keys()
    assert all((found.vectors[key] == row).all() for key, row in sample(20).items())
    store.save(tmp_path / "index", "e1", 8, {})
    assert store.load(tmp_path / "index", "e1", 8) == store.Snapshot()


def test_another_encoders_snapshot_is_not_used(tmp_path: Path) -> None:
    store.save(tmp_path, "e1", 8, sample(3))
    for encoder, dimension in (("e2", 8), ("e1", 16)):
        found = store.load(tmp_path, encoder, dimension)
        assert not found.vectors
        assert found.note is not None
        assert "另一个向量模型" in found.note[0]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "garbage", "huge header"])
def test_a_damaged_snapshot_is_noticed(tmp_path: Path, damage: str) -> None:
    store.save(tmp_path, "e1", 8, sample(50))
    path = tmp_path / store.FILE_NAME
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "flipped":
        data[-5] ^= 1
    elif damage == "huge header":
        data[:8] = b"\xff" * 8
    else:
        data = bytearray(b"" if damage == "empty" else b"not at all" * 40)
    path.write_bytes(data)
    found = store.load(tmp_path, "e1", 8)
    assert not found.vectors
    assert found.note is not None
    assert "损坏" in found.note[0]
    store.save(tmp_path, "e1", 8, sample(5))
    assert len(store.load(tmp_path, "e1", 8).vectors) == 5


SAVER = """
import sys
from pathlib import Path
import numpy as np
from knowledge import store
folder = Path(sys.argv[1])
versions = []
for seed in (1, 2):
    rows = np.full((4000, 384), seed, dtype=np.float32)
    versions.append({store.key(f"{seed} {i}", "query"): row for i, row in enumerate(rows)})
print("ready", flush=True)
while True:
    for version in versions:
        store.save(folder, "e", 384, version)
"""


def kill_while_saving(folder: Path, points: int) -> None:
    """Kills a process that saves without pause at random moments; each time one whole version must be there."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    store.save(folder, "e", 384, {store.key("1 0", "query"): np.full(384, 1, np.float32)})
    pause = random.Random(7)
    for _ in range(points):
        child = subprocess.Popen([sys.executable, "-c", SAVER, str(folder)], stdout=subprocess.PIPE, env=environment)
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(pause.uniform(0, 0.15))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        found = store.load(folder, "e", 384)
        assert found.note is None
        assert len(found.vectors) in {1, 4000}
        assert len({float(row[0]) for row in found.vectors.values()}) == 1, "two versions mixed"
        assert [path.name for path in folder.iterdir()] == [store.FILE_NAME], "what was cut off is cleared away"


@pytest.mark.slow
def test_kill_9_while_saving(tmp_path: Path) -> None:
    kill_while_saving(tmp_path, 6)


@pytest.mark.soak
def test_kill_9_while_saving_at_200_points(tmp_path: Path) -> None:
    kill_while_saving(tmp_path, 200)


def test_a_full_disk_is_one_sentence_and_the_old_snapshot_stays(tmp_path: Path) -> None:
    store.save(tmp_path, "e", 8, sample(4))
    code = (
        "import resource, sys\nfrom pathlib import Path\nimport numpy as np\nfrom knowledge import store\n"
        "from knowledge.errors import SnapshotError\nresource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))\n"
        "rows = {store.key(str(i), 'query'): np.ones(8, np.float32) for i in range(5000)}\n"
        "try:\n    store.save(Path(sys.argv[1]), 'e', 8, rows)\nexcept SnapshotError as error:\n    print(error.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "index_not_saved"
    assert len(store.load(tmp_path, "e", 8).vectors) == 4
    assert [path.name for path in tmp_path.iterdir()] == [store.FILE_NAME]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SnapshotError) as caught:
        store.save(tmp_path / "file" / "index", "e", 8, sample(1))
    assert "原有的索引没有变化" in str(caught.value)
