"""The E5S1 file becomes a BERT folder: the same weights, the tokens of XLM-RoBERTa."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune.convert_e5 import convert_e5
from finetune.errors import DamagedFileError
from finetune.loading import load_encoder


def nothing(_done: int, _total: int) -> None: ...


@pytest.fixture(scope="module")
def tiny_folder(tiny_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    convert_e5(tiny_model.file, folder, nothing)
    return folder


@pytest.fixture(scope="module")
def loaded(tiny_folder: Path) -> tuple[Any, Any]:
    import torch

    return load_encoder(tiny_folder, dtype=torch.float32)


def test_every_weight_is_what_its_block_says(tiny_model: Any, loaded: tuple[Any, Any]) -> None:
    state = loaded[0].state_dict()
    layer = "encoder.layer.1."
    expected = {
        "embeddings.word_embeddings.weight": "emb.word",
        "embeddings.position_embeddings.weight": "emb.pos",
        "embeddings.LayerNorm.bias": "emb.ln.b",
        layer + "attention.self.key.weight": "l1.k.w",
        layer + "attention.output.dense.bias": "l1.ao.b",
        layer + "attention.output.LayerNorm.weight": "l1.aln.w",
        layer + "intermediate.dense.weight": "l1.fi.w",
        layer + "output.dense.weight": "l1.fo.w",
        layer + "output.LayerNorm.weight": "l1.oln.w",
    }
    for ours, theirs in expected.items():
        np.testing.assert_array_equal(state[ours].numpy(), tiny_model.weights[theirs])
    weights = [name for name in state if name not in ("embeddings.position_ids", "embeddings.token_type_ids")]
    assert len(weights) == len(tiny_model.weights)


def test_all_keys_match_and_nothing_is_made_up(tiny_folder: Path) -> None:
    from transformers import BertModel

    _, report = BertModel.from_pretrained(tiny_folder, add_pooling_layer=False, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]


def test_special_ids_and_template(loaded: tuple[Any, Any]) -> None:
    tokenizer = loaded[1]
    ids = (tokenizer.cls_token_id, tokenizer.pad_token_id, tokenizer.sep_token_id, tokenizer.unk_token_id)
    assert ids == (0, 1, 2, 3)
    batch = tokenizer(["退款", "退款ab 退"], padding=True)
    assert batch["input_ids"] == [[0, 4, 7, 2, 1, 1, 1], [0, 4, 7, 12, 13, 8, 2]]
    assert batch["attention_mask"] == [[1, 1, 1, 1, 0, 0, 0], [1] * 7]
    assert set(batch) == {"input_ids", "attention_mask"}


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("退款", ["▁", "退款"]),
        ("  退款\u3000 \t ab ", ["▁", "退款", "▁ab"]),
        ("３～５", ["▁", "3", "～", "5"]),
        ("a\x01b", ["▁ab"]),
        ("", []),
    ],
)
def test_normalisation_follows_the_table_of_the_file(loaded: tuple[Any, Any], text: str, tokens: list[str]) -> None:
    assert loaded[1].tokenize(text) == tokens


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), flipped_bits=st.integers(0, 255))
def test_a_shortened_or_altered_file_is_refused_by_name(
    tiny_model: Any, tmp_path: Path, place: float, flipped_bits: int
) -> None:
    """Past the hashes, too, the reader answers with its one sentence or a model, never with a stack trace."""
    content = bytearray(tiny_model.file.read_bytes())
    if flipped_bits:
        # In the sizes, the pieces and the directory; in a weight any bits are a weight.
        content[int(place * content.index(b"l0.q.w"))] ^= flipped_bits
    else:
        del content[int(place * len(content)) :]
    altered = tmp_path / "e5.bin"
    altered.write_bytes(content)
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    with suppress(DamagedFileError) if flipped_bits else pytest.raises(DamagedFileError, match=r"e5\.bin"):
        convert_e5(altered, out, nothing)
