"""The adapter registry: whole or absent, verified before use, never outside its folder."""

import json
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from finetune import registry
from finetune.card import model_card
from finetune.errors import FinetuneError
from finetune.registry import Manifest
from finetune.signing import Signer

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
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path / "keys")


@pytest.fixture
def installed(tmp_path: Path, source: Path, signer: Signer) -> Path:
    registry.install(source, tmp_path / "adapters", MANIFEST, signer)
    return tmp_path / "adapters" / MANIFEST.name


def test_what_is_installed_is_read_back_with_its_checksums(installed: Path, signer: Signer) -> None:
    manifest = registry.verify(installed, BASE, signer)
    assert replace(manifest, files={}, signature={}) == MANIFEST
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
def test_a_name_is_never_a_path(tmp_path: Path, source: Path, signer: Signer, name: str) -> None:
    with pytest.raises(FinetuneError) as caught:
        registry.install(source, tmp_path / "adapters", replace(MANIFEST, name=name), signer)
    assert caught.value.code == "adapter_name"
    assert not (tmp_path / "adapters").exists() or not any((tmp_path / "adapters").iterdir())


def test_installing_the_same_again_is_no_change_and_another_under_its_name_is_refused(
    source: Path, installed: Path, signer: Signer
) -> None:
    before = registry.read(installed)
    assert registry.install(source, installed.parent, MANIFEST, signer) == before
    (source / "adapter_model.safetensors").write_bytes(b"other")
    with pytest.raises(FinetuneError) as caught:
        registry.install(source, installed.parent, MANIFEST, signer)
    assert caught.value.code == "adapter_exists"
    assert registry.verify(installed) == before


def test_an_unfinished_install_is_not_listed_and_done_anew(tmp_path: Path, source: Path, signer: Signer) -> None:
    home = tmp_path / "adapters"
    left = home / f".{MANIFEST.name}.part"
    left.mkdir(parents=True)
    (left / "adapter_model.safetensors").write_bytes(b"half")
    assert registry.list_folders(home) == []
    registry.install(source, home, MANIFEST, signer)
    assert [folder.name for folder in registry.list_folders(home)] == [MANIFEST.name]
    registry.verify(home / MANIFEST.name, BASE)


def test_an_adapter_is_exported_as_a_folder_and_as_a_zip_with_its_card(
    tmp_path: Path, installed: Path, signer: Signer
) -> None:
    (installed / "questions.jsonl").write_text('{"text": "我的电话是多少"}')
    folder = registry.export(installed, tmp_path / "out" / "peft", signer)
    assert (folder / "adapter_config.json").read_text() == "{}"
    assert {path.name for path in folder.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "calibration.json", "manifest.json", "README.md",
    }  # fmt: skip
    registry.verify(folder.rename(tmp_path / "out" / MANIFEST.name), BASE, signer)
    archive = registry.export(installed, tmp_path / "out.zip", signer)
    with zipfile.ZipFile(archive) as opened:
        assert opened.read(f"{MANIFEST.name}/adapter_model.safetensors") == b"weights" * 100
        assert opened.read(f"{MANIFEST.name}/README.md").decode() == model_card(registry.read(installed))
        assert opened.testzip() is None
    with pytest.raises(FinetuneError) as caught:
        registry.export(installed, tmp_path / "out.zip", signer)
    assert caught.value.code == "target_exists"


def test_the_model_card_is_read_by_a_yaml_parser_and_names_base_data_and_figures() -> None:
    from ruamel.yaml import YAML

    _, front, text = model_card(MANIFEST).split("---\n", 2)
    head = YAML(typ="safe").load(front)
    assert head["base_model"] == "intfloat/multilingual-e5-small"
    assert head["library_name"] == "peft"
    assert head["pipeline_tag"] == "sentence-similarity"
    assert "base_model:adapter:intfloat/multilingual-e5-small" in head["tags"]
    for wanted in (BASE, "d" * 64, "| hit@1 | 0.4 | 0.5 |", "Better.", "更好。", "AutoModel.from_pretrained"):
        assert wanted in text
    strange = model_card(replace(MANIFEST, base_model='my "own": model', kind="generator"))
    assert YAML(typ="safe").load(strange.split("---\n", 2)[1])["base_model"] == 'my "own": model'


def test_a_damaged_adapter_is_not_exported(tmp_path: Path, installed: Path, signer: Signer) -> None:
    alter(installed)
    with pytest.raises(FinetuneError):
        registry.export(installed, tmp_path / "out.zip", signer)
    assert not list(tmp_path.glob("*out.zip*"))


def test_the_key_is_the_owners_alone_and_made_once(tmp_path: Path, installed: Path) -> None:
    key = tmp_path / "keys" / "signing.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_bytes()) == 32
    before = key.read_bytes()
    registry.verify(installed, BASE, Signer(tmp_path / "keys"))
    assert key.read_bytes() == before
    assert [path.name for path in key.parent.iterdir()] == ["signing.key"]


def rewrite(folder: Path, **changes: object) -> None:
    raw = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**raw, **changes}))


def test_an_altered_verdict_a_strangers_signature_and_none_are_refused(
    tmp_path: Path, installed: Path, signer: Signer
) -> None:
    good = (installed / "manifest.json").read_text()
    cases = (
        ({"verdict": {"outcome": "better", "zh": "改过", "en": "altered"}}, "adapter_damaged", "签名之后被改动"),
        ({"examples": 11}, "adapter_damaged", "签名之后被改动"),
        ({"more": 1}, "adapter_damaged", "签名之后被改动"),
        ({"signature": {}}, "adapter_unsigned", "没有签名"),
        ({"signature": {"key": json.loads(good)["signature"]["key"], "value": "?"}}, "adapter_damaged", "改动"),
        ({"signature": {"key": "0" * 16, "value": ""}}, "adapter_stranger", "另一处安装"),
        ({"signature": "x"}, "adapter_stranger", "另一处安装"),
    )
    for changes, code, words in cases:
        rewrite(installed, **changes)
        with pytest.raises(FinetuneError, match=words) as caught:
            registry.verify(installed, BASE, signer)
        assert caught.value.code == code
        assert MANIFEST.name in caught.value.en
        (installed / "manifest.json").write_text(good)
    with pytest.raises(FinetuneError) as caught:
        registry.verify(installed, BASE, Signer(tmp_path / "elsewhere"))
    assert caught.value.code == "adapter_stranger"
    registry.verify(installed, BASE, signer)


def test_weights_altered_with_their_checksum_are_refused_too(installed: Path, signer: Signer) -> None:
    alter(installed)
    files = json.loads((installed / "manifest.json").read_text())["files"]
    files["adapter_model.safetensors"] = registry.file_record(installed / "adapter_model.safetensors")
    rewrite(installed, files=files)
    registry.verify(installed, BASE)  # whole in itself
    with pytest.raises(FinetuneError, match="签名之后被改动"):
        registry.verify(installed, BASE, signer)


def test_an_adapter_of_before_signatures_is_signed_only_where_it_is_as_registered(
    installed: Path, signer: Signer
) -> None:
    rewrite(installed, signature={})
    raw = json.loads((installed / "manifest.json").read_text())
    on_record = {key: value for key, value in raw.items() if key not in ("signature", "imported_at")}
    with pytest.raises(FinetuneError, match="登记的不同"):
        registry.sign(installed, signer, {**on_record, "examples": 99})
    signed = registry.sign(installed, signer, on_record)
    assert registry.verify(installed, BASE, signer) == signed
    assert registry.sign(installed, signer, on_record) == signed  # the process died before that was registered
    rewrite(installed, signature={})
    alter(installed)
    with pytest.raises(FinetuneError, match="改动过"):
        registry.sign(installed, signer, on_record)


def test_a_damaged_or_unreadable_key_is_said_to_be_that(tmp_path: Path, installed: Path, signer: Signer) -> None:
    (tmp_path / "keys" / "signing.key").write_bytes(b"short")
    with pytest.raises(FinetuneError, match="已损坏，请从备份恢复") as caught:
        registry.verify(installed, BASE, signer)
    assert caught.value.code == "signing_key"
    (tmp_path / "file").write_text("")
    with pytest.raises(FinetuneError) as caught:
        Signer(tmp_path / "file").sign({"name": "x"})
    assert caught.value.code == "signing_key"


def test_a_removed_adapter_is_gone(installed: Path) -> None:
    registry.remove(installed.parent, MANIFEST.name)
    assert list(installed.parent.iterdir()) == []
    with pytest.raises(FinetuneError) as caught:
        registry.remove(installed.parent, MANIFEST.name)
    assert caught.value.code == "adapter_missing"
