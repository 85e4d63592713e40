"""Base models by name, loading them with and without an adapter, and what the real ones answer."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from finetune.catalogue import CATALOGUE, E5_SMALL, QWEN_CODER, find_spec
from finetune.convert_e5 import convert_e5
from finetune.errors import DamagedFileError, ModelError
from finetune.loading import fastest_dtype, smallest_dtype
from finetune.manifest import CHECKSUM_CACHE
from finetune.models import list_models, load_encoder, load_generator, model_checksum, model_folder, prepare, verify
from finetune.prepare import Places, prepare_spec

ROOT = Path(__file__).parents[2]


@pytest.fixture
def own_folder(tiny_model: Any, tmp_path: Path) -> Path:
    """A user's own Hugging Face folder, which nobody prepared."""
    folder = tmp_path / "mine"
    folder.mkdir()
    convert_e5(tiny_model.file, folder, lambda _done, _total: None)
    return folder


def test_the_catalogue_is_consistent() -> None:
    names = [spec.name for spec in CATALOGUE] + [spec.hub.lower() for spec in CATALOGUE]
    assert len(set(names)) == len(names)
    for spec in CATALOGUE:
        assert spec.licence
        assert (spec.use is not None) == (spec.role == "encoder")
        assert find_spec(spec.hub.upper()) is spec
        assert spec.embedded == (spec.form is not None)
    assert QWEN_CODER.data_bytes == 491_400_064
    assert E5_SMALL.data_bytes == 71_622_400
    for package in E5_SMALL.packages + QWEN_CODER.packages:
        assert len(package.wheel_sha256) == len(package.member_sha256) == 64


def test_names_lead_to_folders(own_folder: Path, tmp_path: Path) -> None:
    assert model_folder("multilingual-e5-small", tmp_path) == tmp_path / "multilingual-e5-small"
    assert model_folder("Qwen/Qwen3-0.6B", tmp_path) == tmp_path / "qwen3-0.6b"
    assert model_folder(str(own_folder), tmp_path) == own_folder
    assert model_folder("someone/some-model", tmp_path) == tmp_path / "someone--some-model"
    for name in ("", "multilingual-e6", "../x/y", ".hidden/name", "/nowhere", "a/b/c"):
        with pytest.raises(ModelError, match="multilingual-e5-small") as caught:
            model_folder(name, tmp_path)
        assert repr(name) in caught.value.en


def test_an_own_folder_is_only_looked_at(own_folder: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in own_folder.iterdir())
    assert prepare(str(own_folder), tmp_path / "models") == own_folder
    assert verify(str(own_folder), tmp_path / "models") == ()
    assert sorted(path.name for path in own_folder.iterdir()) == sorted([*before, CHECKSUM_CACHE])
    assert not (tmp_path / "models").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="safetensors"):
        prepare(str(tmp_path / "empty"), tmp_path / "models")


def test_the_checksum_of_an_own_folder_follows_its_files(own_folder: Path) -> None:
    first = model_checksum(own_folder)
    assert model_checksum(own_folder) == first
    (own_folder / "README.md").write_text("x", encoding="utf-8")
    assert model_checksum(own_folder) == first
    config = own_folder / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace('"gelu"', '"relu"'), encoding="utf-8")
    assert model_checksum(own_folder) != first


def test_an_own_folder_counts_as_the_prepared_one_it_equals(tiny_model: Any, own_folder: Path, tmp_path: Path) -> None:
    places = Places(tmp_path / "models", tiny_model.spec.name, (tiny_model.wheels,))
    folder = prepare_spec(tiny_model.spec, places, lambda _: None)
    assert model_checksum(folder) == model_checksum(own_folder)


def test_the_list_says_what_is_there(tiny_model: Any, own_folder: Path, tmp_path: Path) -> None:
    models_dir = tmp_path / "models"
    assert {status.state for status in list_models(models_dir)} == {"absent"}
    prepare_spec(tiny_model.spec, Places(models_dir, tiny_model.spec.name, (tiny_model.wheels,)), lambda _: None)
    shutil.copytree(own_folder, models_dir / "copied")
    shutil.copytree(models_dir / "tiny-encoder", models_dir / "multilingual-e5-small")
    (models_dir / "multilingual-e5-small" / "config.json").unlink()
    found = {status.name: status for status in list_models(models_dir)}
    assert len(found) == len(CATALOGUE) + 2
    assert (found["tiny-encoder"].state, found["tiny-encoder"].role) == ("ready", "encoder")
    assert found["tiny-encoder"].checksum == model_checksum(models_dir / "tiny-encoder")
    assert (found["copied"].state, found["copied"].source) == ("ready", "local")
    assert found["multilingual-e5-small"].state == "damaged"
    assert isinstance(found["multilingual-e5-small"].problem, DamagedFileError)
    assert found["qwen3-0.6b"].state == "absent"


def test_verify_before_prepare_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="kefu models prepare multilingual-e5-small"):
        verify("multilingual-e5-small", tmp_path)


def test_an_adapter_is_merged_in_float32(own_folder: Path, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    base, tokenizer = load_encoder(own_folder, dtype=torch.float32)
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules=["query", "value", "dense"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    inputs = tokenizer(["退款ab 3～5", "退"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = adapted.eval()(**inputs).last_hidden_state
        merged, _ = load_encoder(own_folder, tmp_path / "adapter", dtype=torch.float32)
        found = merged(**inputs).last_hidden_state
        plain = load_encoder(own_folder, dtype=torch.float32)[0](**inputs).last_hidden_state
        half, _ = load_encoder(own_folder, tmp_path / "adapter", dtype=torch.bfloat16)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert (plain - expected).abs().max() > 0.01
    assert not any("lora" in name for name, _ in merged.named_parameters())
    name = "encoder.layer.0.attention.self.query.weight"
    assert torch.equal(half.state_dict()[name], merged.state_dict()[name].to(torch.bfloat16))


def test_a_folder_that_cannot_be_loaded_is_one_sentence(own_folder: Path, tmp_path: Path) -> None:
    weights = own_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    for load, folder in ((load_encoder, own_folder), (load_generator, tmp_path / "nothing")):
        with pytest.raises(ModelError) as caught:
            load(folder)
        assert caught.value.code == "model_load"
        assert str(folder) in caught.value.zh
        assert "\n" not in caught.value.zh


def test_importing_the_package_loads_nothing_heavy() -> None:
    program = (
        "import sys, finetune.models, finetune.command; print(*{'torch', 'transformers', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


# --- The real models -----------------------------------------------------------------------------------------------


def test_the_real_encoder_reads_chinese_as_it_was_trained(encoder_folder: Path) -> None:
    import torch

    model, tokenizer = load_encoder(encoder_folder, dtype=torch.float32)
    assert tokenizer.tokenize("query: ３～5天\u3000能到吗？") == [
        *("▁que", "ry", ":", "▁3", "～", "5", "天", "▁", "能", "到", "吗", "?")
    ]
    texts = ["退款多久到账", "我的钱什么时候退回来", "今天天气怎么样", "发票可以开公司抬头吗"]
    batch = tokenizer([f"query: {text}" for text in texts], padding=True, return_tensors="pt")
    assert torch.equal(model.embeddings.position_ids[0, :4], torch.arange(4))
    with torch.inference_mode():
        states = model(**batch).last_hidden_state
        single = model(**tokenizer(f"query: {texts[0]}", return_tensors="pt")).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    vectors = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1)
    alone = torch.nn.functional.normalize(single.mean(1), dim=1)
    assert float(vectors[0] @ alone[0]) == pytest.approx(1, abs=1e-5)
    similarity = vectors @ vectors.T
    unrelated = [float(similarity[i, j]) for i, j in ((0, 2), (1, 2), (2, 3))]
    assert 0.75 < min(unrelated) <= max(unrelated) < 0.87
    assert float(similarity[0, 1]) > max(unrelated) + 0.03


def test_the_real_generator_answers_from_its_source(generator_folder: Path) -> None:
    model, tokenizer = load_generator(generator_folder)
    source = "退款将在收到退货后3个工作日内原路返回。七天无理由退货，运费由买家承担。"
    messages = [
        {"role": "system", "content": f"根据以下资料回答客户的问题。\n{source}"},
        {"role": "user", "content": "我退货了，钱几天能到？运费谁出？"},
    ]
    inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    output = model.generate(**inputs, max_new_tokens=40)[0, inputs["input_ids"].shape[1] :]
    # How much it says differs from one processor, and one number of threads, to another (bfloat16).
    answer = tokenizer.decode(output, skip_special_tokens=True)
    assert "3个工作日" in answer or "买家承担" in answer
    assert output[-1] == tokenizer.eos_token_id


def test_both_real_models_are_whole(encoder_folder: Path, generator_folder: Path) -> None:
    assert verify(encoder_folder.name, encoder_folder.parent) == ()
    assert verify(generator_folder.name, generator_folder.parent) == ()


@pytest.mark.benchmark
def test_both_real_models_load_in_under_ten_seconds(encoder_folder: Path, generator_folder: Path) -> None:
    started = time.perf_counter()
    load_encoder(encoder_folder)
    middle = time.perf_counter()
    load_generator(generator_folder)
    ended = time.perf_counter()
    print(f"encoder {middle - started:.1f} s, generator {ended - middle:.1f} s")
    assert ended - started < 10


@pytest.mark.slow
def test_the_real_encoder_is_converted_from_its_package(encoder_folder: Path, tmp_path: Path) -> None:
    """Where the package was kept (`kefu models prepare --keep-packages`, or KEFU_PACKAGES names a folder of it)."""
    homes = [Path(os.environ.get("KEFU_PACKAGES", "packages")), encoder_folder.parent / "packages"]
    kept = next((home for home in homes if (home / E5_SMALL.packages[0].wheel).is_file()), None)
    if kept is None:
        pytest.skip("needs the encoder's package: set KEFU_PACKAGES to a folder that has it")
    folder = prepare(E5_SMALL.name, tmp_path, packages_dir=kept)
    assert model_checksum(folder) == model_checksum(encoder_folder)
    assert verify(E5_SMALL.name, tmp_path) == ()


@pytest.mark.parametrize(
    ("can", "gpu", "fastest", "smallest"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, False, "float32", "float32"),
        ({"avx512_bf16": True, "amx_bf16": False}, False, "float32", "bfloat16"),
        ({"avx512_bf16": True, "amx_bf16": True}, False, "bfloat16", "bfloat16"),
        ({"bf16": True}, False, "bfloat16", "bfloat16"),
        ({}, True, "bfloat16", "bfloat16"),
    ],
)
def test_the_processor_decides_the_weights_precision(
    can: dict[str, bool], gpu: bool, fastest: str, smallest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert fastest_dtype() is getattr(torch, fastest)
    assert smallest_dtype() is getattr(torch, smallest)
