"""Adapters from elsewhere: what is taken over, and what is refused before anything is loaded."""

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from finetune.errors import FinetuneError
from finetune.foreign import take_over

BASE = ("multilingual-e5-small", "b" * 64)
KEY = "base_model.model.encoder.layer.0.attention.self.query.lora_A.weight"


def peft(folder: Path, weights: dict[str, torch.Tensor] | None = None, **config: Any) -> Path:
    folder.mkdir(parents=True)
    found = {"peft_type": "LORA", "task_type": "FEATURE_EXTRACTION", "r": 4, **config}
    (folder / "adapter_config.json").write_text(json.dumps(found))
    save_file(weights or {KEY: torch.ones(4, 8)}, folder / "adapter_model.safetensors")
    return folder


def test_only_weights_and_configuration_are_taken_over(tmp_path: Path) -> None:
    source = peft(tmp_path / "from", base_model_name_or_path="intfloat/multilingual-e5-small",
                  auto_mapping={"parent_library": "os", "base_model_class": "system"})  # fmt: skip
    for name in ("calibration.json", "report.json", "questions.jsonl", "run.py"):
        (source / name).write_text("{}")
    found = take_over(source, tmp_path / "to")
    assert found.kind == "encoder"
    found.check_base(*BASE)
    assert {path.name for path in (tmp_path / "to").iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert "auto_mapping" not in json.loads((tmp_path / "to" / "adapter_config.json").read_text())
    weights = "adapter_model.safetensors"
    assert (tmp_path / "to" / weights).read_bytes() == (source / weights).read_bytes()


def test_a_zip_is_taken_over_and_its_paths_are_not_followed(tmp_path: Path) -> None:
    source = peft(tmp_path / "from", task_type="CAUSAL_LM")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in source.iterdir():
            archive.write(path, f"mine/{path.name}")
        archive.writestr("../../evil.py", "print('hello')")
        archive.writestr("/etc/adapter_config.json.bak", "{}")
    assert take_over(tmp_path / "a.zip", tmp_path / "to").kind == "generator"
    assert not list(tmp_path.rglob("evil.py"))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.write(source / "adapter_config.json", "../../adapter_config.json")
    with pytest.raises(FinetuneError, match="没有"):
        take_over(tmp_path / "b.zip", tmp_path / "other")


def test_layers_that_this_base_lacks_may_be_listed_beside_its_own(tmp_path: Path) -> None:
    for name, targets in (("some", ["q_proj", "query"]), ("pattern", "all-linear")):
        assert take_over(peft(tmp_path / name, target_modules=targets), tmp_path / f"{name}-to").kind == "encoder"


def other_base(folder: Path) -> None:
    peft(folder, base_model_name_or_path="BAAI/bge-small-zh-v1.5")


def other_checksum(folder: Path) -> None:
    peft(folder, base_model_name_or_path="multilingual-e5-small")
    claims = {"name": "encoder-1", "kind": "encoder", "base_checksum": "c" * 64}
    (folder / "manifest.json").write_text(json.dumps(claims))


@pytest.mark.parametrize("make", [other_base, other_checksum])
def test_another_base_model_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "from")
    found = take_over(tmp_path / "from", tmp_path / "to")
    with pytest.raises(FinetuneError, match="另一个基础模型") as caught:
        found.check_base(*BASE)
    assert caught.value.code == "adapter_foreign"
    assert "another base model" in caught.value.en


def prefix_tuning(folder: Path) -> None:
    peft(folder, peft_type="PREFIX_TUNING")


def no_weights(folder: Path) -> None:
    (peft(folder) / "adapter_model.safetensors").unlink()


def pickled(folder: Path) -> None:
    (peft(folder) / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps({KEY: [1.0]}))


def not_a_number(folder: Path) -> None:
    peft(folder, {KEY: torch.tensor([[1.0, float("nan")]])})


def whole_layer(folder: Path) -> None:
    peft(folder, {KEY: torch.ones(4, 8), "base_model.model.embeddings.word_embeddings.weight": torch.ones(2, 2)})


def cut_weights(folder: Path) -> None:
    file = peft(folder) / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-9])


def no_task(folder: Path) -> None:
    peft(folder, task_type=None)


def no_json(folder: Path) -> None:
    (peft(folder) / "adapter_config.json").write_text("[" * 100_000)


def linked(folder: Path) -> None:
    (peft(folder) / "adapter_config.json").unlink()
    (folder / "real.json").write_text('{"peft_type": "LORA"}')
    (folder / "adapter_config.json").symlink_to(folder / "real.json")


def other_layers(folder: Path) -> None:
    peft(folder, target_modules=["q_proj", "v_proj"])


def empty(folder: Path) -> None:
    folder.mkdir()


def no_zip(folder: Path) -> None:
    folder.write_bytes(b"PK\x03\x04 no archive")


def missing(folder: Path) -> None:
    """Nothing there at all."""


@pytest.mark.parametrize(
    "make",
    [prefix_tuning, no_weights, pickled, not_a_number, whole_layer, cut_weights, no_task, no_json, linked,
     other_layers, empty, no_zip, missing],
)  # fmt: skip
def test_what_is_no_lora_is_refused_in_one_sentence_and_leaves_nothing(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "from")
    with pytest.raises(FinetuneError) as caught:
        take_over(tmp_path / "from", tmp_path / "to")
    assert caught.value.code == "adapter_import"
    assert caught.value.zh.endswith("。")
    assert caught.value.en.endswith(".")
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    "held", [{}, {"adapter_config.json": "{}"}, {"adapter_config.json": "no", "adapter_model.safetensors": ""}]
)
def test_what_is_wrong_in_a_zip_is_said_of_the_file_that_was_given(tmp_path: Path, held: dict[str, str]) -> None:
    with zipfile.ZipFile(tmp_path / "colleague.zip", "w") as archive:
        for name, text in held.items():
            archive.writestr(name, text)
    with pytest.raises(FinetuneError) as caught:
        take_over(tmp_path / "colleague.zip", tmp_path / "to")
    assert str(caught.value).startswith("colleague.zip 不能作为适配器导入")
    assert "kefu-import" not in str(caught.value) + caught.value.en


def test_the_kind_may_be_said_where_the_file_does_not(tmp_path: Path) -> None:
    no_task(tmp_path / "from")
    assert take_over(tmp_path / "from", tmp_path / "to", "encoder").kind == "encoder"
