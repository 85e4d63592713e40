"""The adapter registry: whole or absent, verified before use, never outside its folder."""

import json
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from finetune import registry
from finetune.errors import FinetuneError
from finetune.registry import Manifest

BASE = "b" * 64
MANIFEST = Manifest(
    name="encoder-20260103-150405",
    kind="encoder",
    base_model="multilingual-e5-small",
    base_checksum=BASE,
    data_hash="d" * 64,
    examples=10,
    config={"rank": 16},
    metrics={"before": {"hit@1": 0.4}, "after": {"hit@1": 0.5}},
    verdict={"outcome": "better", "zh": "更好。", "en": "Better."},
    created_at="2026-01-03T15:04:05Z",
    seconds=12.5,
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "run" / "adapter"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"weights" * 100)
    (folder / "calibration.json").write_text("{}")
    return folder


@pytest.fixture
def installed(tmp_path: Path, source: Path) -> Path:
    registry.install(source, tmp_path / "adapters", MANIFEST)
    return tmp_path / "adapters" / MANIFEST.name


def test_what_is_installed_is_read_back_with_its_checksums(installed: Path) -> None:
    manifest = registry.verify(installed, BASE)
    assert replace(manifest, files={}) == MANIFEST
    assert set(manifest.files) == {"adapter_config.json", "adapter_model.safetensors"}
    assert manifest.files["adapter_model.safetensors"]["bytes"] == 700
    assert (installed / "calibration.json").is_file()


def test_names_carry_kind_and_time_and_are_never_taken_twice(tmp_path: Path) -> None:
    at = datetime(2026, 1, 3, 15, 4, 5, tzinfo=UTC)
    assert registry.new_name("encoder", tmp_path, at) == "encoder-20260103-150405"
    (tmp_path / "encoder-20260103-150405").mkdir()
    assert registry.new_name("encoder", tmp_path, at) == "encoder-20260103-150405-2"


def alter(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    file.write_bytes(b"Weights" + file.read_bytes()[7:])


def shorten(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(b"")


def lose(folder: Path) -> None:
    (folder / "adapter_config.json").unlink()


def add(folder: Path) -> None:
    (folder / "more.py").write_text("print('hello')")


def drop_from_manifest(folder: Path) -> None:
    raw = json.loads((folder / "manifest.json").read_text())
    del raw["files"]["adapter_model.safetensors"]
    (folder / "manifest.json").write_text(json.dumps(raw))


def rename(folder: Path) -> None:
    raw = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**raw, "name": "generator-1"}))


def cut_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"name": "enc')


@pytest.mark.parametrize("harm", [alter, shorten, lose, add, drop_from_manifest, rename, cut_manifest])
def test_an_altered_adapter_is_refused(installed: Path, harm: object) -> None:
    harm(installed)  # type: ignore[operator]
    with pytest.raises(FinetuneError, match=MANIFEST.name) as caught:
        registry.verify(installed, BASE)
    assert caught.value.code == "adapter_damaged"


def test_an_adapter_of_another_base_model_is_refused(installed: Path) -> None:
    with pytest.raises(FinetuneError, match="另一个基础模型") as caught:
        registry.verify(installed, "c" * 64)
    assert caught.value.code == "adapter_foreign"
    assert "another base model" in caught.value.en


def test_a_new_calibration_is_no_damage(installed: Path) -> None:
    (installed / "calibration.json").write_text('{"new": 1}')
    registry.verify(installed, BASE)


def test_a_missing_adapter_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FinetuneError) as caught:
        registry.verify(tmp_path / "adapters" / "gone")
    assert caught.value.code == "adapter_missing"


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden", "x" * 200, "a\0b", "名字"])
def test_a_name_is_never_a_path(tmp_path: Path, source: Path, name: str) -> None:
    with pytest.raises(FinetuneError) as caught:
        registry.install(source, tmp_path / "adapters", replace(MANIFEST, name=name))
    assert caught.value.code == "adapter_name"
    assert not (tmp_path / "adapters").exists() or not any((tmp_path / "adapters").iterdir())


def test_installing_the_same_again_is_no_change_and_another_under_its_name_is_refused(
    tmp_path: Path, source: Path, installed: Path
) -> None:
    before = registry.read(installed)
    assert registry.install(source, installed.parent, MANIFEST) == before
    (source / "adapter_model.safetensors").write_bytes(b"other")
    with pytest.raises(FinetuneError) as caught:
        registry.install(source, installed.parent, MANIFEST)
    assert caught.value.code == "adapter_exists"
    assert registry.verify(installed) == before


def test_an_unfinished_install_is_not_listed_and_done_anew(tmp_path: Path, source: Path) -> None:
    home = tmp_path / "adapters"
    left = home / f".{MANIFEST.name}.part"
    left.mkdir(parents=True)
    (left / "adapter_model.safetensors").write_bytes(b"half")
    assert registry.list_folders(home) == []
    registry.install(source, home, MANIFEST)
    assert [folder.name for folder in registry.list_folders(home)] == [MANIFEST.name]
    registry.verify(home / MANIFEST.name, BASE)


def test_an_adapter_is_exported_as_a_folder_and_as_a_zip(tmp_path: Path, installed: Path) -> None:
    folder = registry.export(installed, tmp_path / "out" / "peft")
    assert (folder / "adapter_config.json").read_text() == "{}"
    archive = registry.export(installed, tmp_path / "out.zip")
    with zipfile.ZipFile(archive) as opened:
        assert opened.read(f"{MANIFEST.name}/adapter_model.safetensors") == b"weights" * 100
        assert opened.testzip() is None
    with pytest.raises(FinetuneError) as caught:
        registry.export(installed, tmp_path / "out.zip")
    assert caught.value.code == "target_exists"


def test_a_damaged_adapter_is_not_exported(tmp_path: Path, installed: Path) -> None:
    alter(installed)
    with pytest.raises(FinetuneError):
        registry.export(installed, tmp_path / "out.zip")
    assert not list(tmp_path.glob("*out.zip*"))


def test_a_removed_adapter_is_gone(installed: Path) -> None:
    registry.remove(installed.parent, MANIFEST.name)
    assert list(installed.parent.iterdir()) == []
    with pytest.raises(FinetuneError) as caught:
        registry.remove(installed.parent, MANIFEST.name)
    assert caught.value.code == "adapter_missing"
