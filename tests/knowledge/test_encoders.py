import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from knowledge.encoders import TransformerEncoder, read_recipe
from knowledge.errors import EncoderError


def test_vectors_are_unit_and_mean_what_they_should(encoder: TransformerEncoder) -> None:
    vectors = encoder.encode(["怎么退货", "我要退货怎么操作", "今天天气怎么样"])
    assert vectors.shape == (3, encoder.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.03


def test_batches_in_any_order_give_each_text_its_own_vector(encoder: TransformerEncoder) -> None:
    texts = ["怎么退货" * n for n in (9, 1, 40, 3)] + ["发票", "长" * 900]
    told: list[tuple[int, int]] = []

    def tell(done: int, total: int, note: str = "") -> None:
        told.append((done, total))

    together = encoder.encode(texts, on_progress=tell)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    np.testing.assert_allclose((together * alone).sum(axis=1), 1, atol=1e-3)
    assert told[-1] == (len(texts), len(texts))


def test_the_prefix_is_the_recipes(encoder: TransformerEncoder) -> None:
    query, passage = encoder.encode(["怎么退货"], "query")[0], encoder.encode(["怎么退货"], "passage")[0]
    assert query @ passage < 0.999
    assert encoder.recipe.query_prefix == "query: "


def test_no_texts_and_an_endless_one(encoder: TransformerEncoder) -> None:
    assert encoder.encode([]).shape == (0, encoder.dimension)
    assert np.isfinite(encoder.encode(["退" * 300_000])).all()
    assert np.isfinite(encoder.encode([""])).all()


def test_many_threads_get_what_one_gets(encoder: TransformerEncoder) -> None:
    texts = [f"订单 {i} 什么时候发货" for i in range(24)]
    with ThreadPoolExecutor(8) as pool:
        found = np.concatenate(list(pool.map(lambda text: encoder.encode([text]), texts)))
    np.testing.assert_allclose((found * encoder.encode(texts)).sum(axis=1), 1, atol=1e-3)


def test_a_remembered_vector_cannot_be_spoilt_by_its_receiver(encoder: TransformerEncoder) -> None:
    first = encoder.encode(["只问一次"])
    first[:] = 0
    assert np.linalg.norm(encoder.encode(["只问一次"])) == pytest.approx(1, abs=1e-5)


def test_recipes_of_other_folders(tmp_path: Path) -> None:
    assert read_recipe(tmp_path).pooling == "mean"
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    prompts = {"prompts": {"query": "为这个句子生成表示：", "document": ""}}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    assert read_recipe(tmp_path).pooling == "cls"
    assert read_recipe(tmp_path).query_prefix == "为这个句子生成表示："
    (tmp_path / "kefu-model.json").write_text(json.dumps({"pooling": "sum"}))
    with pytest.raises(EncoderError) as caught:
        read_recipe(tmp_path)
    assert caught.value.code == "encoder_pooling"


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(EncoderError) as caught:
        TransformerEncoder(tmp_path)
    assert caught.value.code == "encoder_load"


@pytest.mark.slow
def test_an_adapter_changes_vectors_and_id_and_a_foreign_one_is_refused(
    encoder: TransformerEncoder, encoder_folder: Path, tmp_path: Path
) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel, AutoTokenizer

    config = LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"], init_lora_weights=False)
    torch.manual_seed(0)
    model = get_peft_model(AutoModel.from_pretrained(encoder_folder, local_files_only=True), config)
    model.save_pretrained(tmp_path / "adapter")
    tuned = TransformerEncoder(encoder_folder, tmp_path / "adapter")
    assert tuned.id != encoder.id
    assert TransformerEncoder(encoder_folder, tmp_path / "adapter").id == tuned.id
    assert tuned.encode(["怎么退货"])[0] @ encoder.encode(["怎么退货"])[0] < 0.999
    with torch.inference_mode():
        tokenizer = AutoTokenizer.from_pretrained(encoder_folder, local_files_only=True)
        inputs = tokenizer("query: 怎么退货", return_tensors="pt")
        expected = model(**inputs).last_hidden_state.mean(dim=1)[0].numpy()
    assert tuned.encode(["怎么退货"])[0] @ (expected / np.linalg.norm(expected)) > 0.995

    shutil.copytree(tmp_path / "adapter", tmp_path / "cut")
    (tmp_path / "cut" / "adapter_model.safetensors").write_bytes(b"cut short")
    with pytest.raises(EncoderError) as caught:
        TransformerEncoder(encoder_folder, tmp_path / "cut")
    assert caught.value.code == "adapter_load"
