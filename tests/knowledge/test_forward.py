import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from knowledge import graph
from knowledge.encoders import TransformerEncoder
from knowledge.errors import EncoderError
from knowledge.forward import TorchForward, open_forward

SIZE = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
WORDS, POSITIONS = 300, 40
IDS = np.array([[2, 9, 17, 250, 31, 3], [2, 44, 3, 1, 1, 1], [2, 7, 8, 9, 3, 1]], dtype=np.int32)
MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0]], dtype=np.int32)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, Any]]:
    """Makes a small random model of an architecture: its folder, and the model as transformers computes it."""
    import torch
    import transformers

    def made(kind: str, dtype: torch.dtype = torch.float32, **changes: Any) -> tuple[Path, Any]:
        torch.manual_seed(5)
        config = getattr(transformers, f"{kind}Config")(
            vocab_size=WORDS, max_position_embeddings=POSITIONS, pad_token_id=1, **{**SIZE, **changes}
        )
        model = getattr(transformers, f"{kind}Model")(config).to(dtype).eval()
        folder = tmp_path_factory.mktemp(kind)
        model.save_pretrained(folder)
        return folder, model

    return made


def expected(model: Any, pooling: str) -> np.ndarray:
    import torch

    with torch.inference_mode():
        ids, mask = torch.from_numpy(IDS).long(), torch.from_numpy(MASK).long()
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state.float().numpy()
    if pooling == "cls":
        return states[:, 0]
    if pooling == "lasttoken":
        return states[np.arange(len(IDS)), MASK.sum(axis=1) - 1]
    return (states * MASK[..., None]).sum(axis=1) / MASK.sum(axis=1, keepdims=True)


def cosines(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return (found * wanted).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)


@pytest.mark.parametrize("kind", ["Bert", "Roberta", "XLMRoberta"])
@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken"])
def test_the_compiled_graph_computes_what_transformers_does(make: Any, kind: str, pooling: Any) -> None:
    folder, model = make(kind)
    forward = open_forward(folder, None, pooling, None)
    assert isinstance(forward, graph.CompiledBert)
    assert (forward.dimension, forward.positions) == (64, POSITIONS if kind == "Bert" else POSITIONS - 2)
    assert cosines(forward(IDS, MASK), expected(model, pooling)).min() > 0.999


def test_a_row_does_not_depend_on_its_batch(make: Any) -> None:
    forward = open_forward(make("Bert")[0], None, "mean", None)
    together = forward(IDS, MASK)
    alone = np.concatenate([forward(IDS[i : i + 1, :n], MASK[i : i + 1, :n]) for i, n in enumerate(MASK.sum(axis=1))])
    np.testing.assert_allclose(together, alone, rtol=1e-3, atol=1e-3)


def test_weights_in_half_precision_and_under_a_head_s_prefix(make: Any) -> None:
    import torch

    folder, model = make("Bert", dtype=torch.bfloat16)
    assert cosines(open_forward(folder, None, "mean", None)(IDS, MASK), expected(model, "mean")).min() > 0.999
    folder, model = make("Bert")
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    save_file({f"bert.{name}": values for name, values in weights.items()}, folder / "model.safetensors")
    assert cosines(open_forward(folder, None, "mean", None)(IDS, MASK), expected(model, "mean")).min() > 0.999


@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken"])
def test_another_architecture_is_computed_by_pytorch(make: Any, pooling: Any) -> None:
    folder, model = make("Electra", embedding_size=64)
    forward = open_forward(folder, None, pooling, None)
    assert isinstance(forward, TorchForward)
    assert cosines(forward(IDS, MASK), expected(model, pooling)).min() > 0.999


def test_an_unusual_activation_is_left_to_pytorch(make: Any) -> None:
    folder, model = make("Bert", hidden_act="relu")
    forward = open_forward(folder, None, "mean", None)
    assert isinstance(forward, TorchForward)
    assert cosines(forward(IDS, MASK), expected(model, "mean")).min() > 0.999


@pytest.mark.parametrize("damage", ["cut", "less", "config", "heads", "size"])
def test_a_damaged_model_is_refused(make: Any, tmp_path: Path, damage: str) -> None:
    from safetensors.numpy import load_file, save_file

    folder = Path(shutil.copytree(make("Bert")[0], tmp_path / "model"))
    weights = folder / "model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif damage == "less":
        save_file({name: row for name, row in load_file(weights).items() if "layer.1" not in name}, weights)
    else:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        wrong = {
            "config": {"num_hidden_layers": "many"},
            "heads": {"num_attention_heads": None},
            "size": {"hidden_size": 48},
        }
        (folder / "config.json").write_text(json.dumps(config | wrong[damage]), "utf-8")
    with pytest.raises(EncoderError) as caught:
        open_forward(folder, None, "mean", None)
    assert caught.value.code == "encoder_load"


def test_the_embedded_encoder_is_what_pytorch_computes_in_float32(
    encoder: TransformerEncoder, encoder_folder: Path
) -> None:
    import torch
    from transformers import AutoModel

    texts = [
        "怎么退货",
        "PPR-9087 的发票什么时候开",
        "Can I return it? 我想退",
        "我上周买的空调什么时候能送到，安装要另外收费吗？" * 6,
    ]
    model = AutoModel.from_pretrained(encoder_folder, local_files_only=True, dtype=torch.float32).eval()
    tokens = [encoder._tokenizer.encode("query: " + text) for text in texts]
    with torch.inference_mode():
        wanted = np.array(
            [model(input_ids=torch.tensor([one.ids])).last_hidden_state.mean(dim=1)[0].numpy() for one in tokens]
        )
    assert cosines(encoder.encode(texts), wanted).min() > 0.999


def test_nothing_reports_to_the_makers_of_the_runtime_and_pytorch_is_not_loaded(encoder_folder: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from knowledge.encoders import TransformerEncoder;"
        f"TransformerEncoder(Path({str(encoder_folder)!r})).encode(['怎么退货']);"
        "print(sys.modules.get('openvino_telemetry'), 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", "False", "False"]
