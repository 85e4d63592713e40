"""Models of the hub, by the real client against a small server that speaks the hub's protocol."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from finetune.convert_e5 import convert_e5

ROOT = Path(__file__).parents[2]
REVISION = "0123456789abcdef0123456789abcdef01234567"
PROGRAM = """
import json, sys
from pathlib import Path
from finetune.errors import FinetuneError
from finetune.models import prepare, verify
models_dir, name = Path(sys.argv[1]), sys.argv[2]
steps = []
try:
    folder = prepare(name, models_dir, steps.append)
except FinetuneError as error:
    print(json.dumps({"code": error.code, "zh": error.zh, "en": error.en}))
else:
    fetched = [step.item for step in steps if step.stage == "downloading" and step.done == 0]
    print(json.dumps({"folder": str(folder), "problems": len(verify(name, models_dir)), "fetched": fetched}))
"""


@dataclass
class Hub:
    """The files of one repository, and what was asked for."""

    address: str
    files: dict[str, bytes]
    asked: list[str] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        siblings = [
            {
                "rfilename": name,
                "size": len(content),
                "blobId": hashlib.sha1(content, usedforsecurity=False).hexdigest(),
                **({"lfs": {"size": len(content), "sha256": self.sha256(name), "pointerSize": 130}} if large else {}),
            }
            for name, content in self.files.items()
            for large in [name.endswith((".safetensors", ".bin"))]
        ]
        return {"id": "shop/tiny", "sha": REVISION, "siblings": siblings, "cardData": {"license": "apache-2.0"}}

    def sha256(self, name: str) -> str:
        return self.told.get(name) or hashlib.sha256(self.files[name]).hexdigest()


@pytest.fixture
def hub(tiny_model: Any, tmp_path: Path) -> Iterator[Hub]:
    folder = tmp_path / "repository"
    folder.mkdir()
    convert_e5(tiny_model.file, folder, lambda _done, _total: None)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    files |= {
        "modules.json": b"[]",
        "1_Pooling/config.json": json.dumps({"pooling_mode_cls_token": True}).encode(),
        "sentence_bert_config.json": b'{"max_seq_length": 20}',
        "config_sentence_transformers.json": json.dumps({"prompts": {"query": "q: "}}).encode(),
        "onnx/model.onnx": b"unwanted",
        "modeling_evil.py": b"raise SystemExit('code of a repository ran')",
        "pytorch_model.bin": b"unwanted beside safetensors",
    }
    served = Hub("", files)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, *, with_body: bool) -> None:
            path = self.path.partition("?")[0]
            name = path.partition(f"/resolve/{REVISION}/")[2]
            body = served.files.get(name) if name else json.dumps(served.describe()).encode()
            if not path.startswith(("/api/models/shop/tiny", "/shop/tiny/")) or body is None:
                self.send_error(404)
                return
            if with_body and name:
                served.asked.append(name)
            self.send_response(200)
            if name:
                self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
                self.send_header("X-Repo-Commit", REVISION)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(models_dir: Path, name: str, endpoint: str, **more: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(models_dir), name],
        cwd=ROOT,
        env={**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(models_dir / "hf"), **more},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_a_model_of_the_hub_is_fetched_checked_and_described(hub: Hub, tmp_path: Path) -> None:
    found = fetch(tmp_path / "models", "shop/tiny", hub.address)
    folder = tmp_path / "models" / "shop--tiny"
    assert found["folder"] == str(folder)
    assert found["problems"] == 0
    manifest = json.loads((folder / "kefu-model.json").read_text(encoding="utf-8"))
    assert manifest["source"] == {"hub": "shop/tiny", "revision": REVISION}
    assert manifest["licence"] == "apache-2.0"
    assert (manifest["role"], manifest["pooling"], manifest["query_prefix"]) == ("encoder", "cls", "q: ")
    assert manifest["max_tokens"] == 20
    unwanted = {"onnx/model.onnx", "modeling_evil.py", "pytorch_model.bin"}
    assert set(manifest["files"]) == set(hub.files) - unwanted
    assert set(hub.asked) == set(manifest["files"])
    assert not (folder / ".cache").exists()


def test_pickled_weights_alone_become_safetensors(hub: Hub, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load, load_file

    weights = load(hub.files.pop("model.safetensors"))
    torch.save(weights, tmp_path / "pytorch_model.bin")
    hub.files["pytorch_model.bin"] = (tmp_path / "pytorch_model.bin").read_bytes()
    folder = Path(fetch(tmp_path / "models", "shop/tiny", hub.address)["folder"])
    assert not list(folder.glob("*.bin"))
    found = load_file(folder / "model.safetensors")
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)


def test_a_file_that_is_not_what_the_hub_says_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.told["model.safetensors"] = "0" * 64
    found = fetch(tmp_path / "models", "shop/tiny", hub.address)
    assert found["code"] == "checksum_mismatch"
    assert "model.safetensors" in found["zh"]
    assert "0" * 64 in found["zh"]
    assert not (tmp_path / "models" / "shop--tiny").exists()


def test_a_repository_without_a_model_is_refused(hub: Hub, tmp_path: Path) -> None:
    del hub.files["model.safetensors"], hub.files["pytorch_model.bin"]
    assert fetch(tmp_path / "models", "shop/tiny", hub.address)["code"] == "hub_no_model"


@pytest.mark.parametrize("more", [{}, {"HF_HUB_OFFLINE": "1"}])
def test_without_a_network_there_is_one_sentence(tmp_path: Path, more: dict[str, str]) -> None:
    found = fetch(tmp_path / "models", "BAAI/bge-small-zh-v1.5", "http://127.0.0.1:9", **more)
    assert found["code"] == "hub_unreachable"
    assert "BAAI/bge-small-zh-v1.5" in found["zh"]
    assert "本地模型文件夹" in found["zh"]


def test_what_is_prepared_needs_no_network(hub: Hub, tmp_path: Path) -> None:
    fetch(tmp_path / "models", "shop/tiny", hub.address)
    assert fetch(tmp_path / "models", "shop/tiny", "http://127.0.0.1:9")["fetched"] == []


def test_the_hubs_weights_replace_those_of_the_packages_when_asked_for(
    hub: Hub, tiny_model: Any, tmp_path: Path
) -> None:
    program = """
import pickle, sys
from pathlib import Path
from finetune.manifest import read_manifest
from finetune.prepare import Places, prepare_spec
models_dir, (packages, hub, wheels) = Path(sys.argv[1]), pickle.loads(bytes.fromhex(sys.argv[2]))
for spec in (packages, hub, packages):
    folder = prepare_spec(spec, Places(models_dir, spec.name, (wheels,)), lambda step: None)
    print(*read_manifest(folder).source)
"""
    specs = (tiny_model.spec, replace(tiny_model.spec, packages=(), form=None, hub="shop/tiny"), tiny_model.wheels)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "models"), pickle.dumps(specs).hex()],
        cwd=ROOT,
        env={**os.environ, "HF_ENDPOINT": hub.address},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split("\n")[:3] == ["packages data_sha256", "hub revision", "hub revision"], done.stderr


def test_after_a_refusal_only_the_refused_file_is_fetched_again(hub: Hub, tmp_path: Path) -> None:
    whole = hub.files.pop("model.safetensors")
    hub.files["model.safetensors"] = whole  # The last one asked for.
    hub.told["model.safetensors"] = "0" * 64
    fetch(tmp_path / "models", "shop/tiny", hub.address)
    asked = len(hub.asked)
    hub.told.clear()
    fetch(tmp_path / "models", "shop/tiny", hub.address)
    assert hub.asked[asked:] == ["model.safetensors"]
    assert (tmp_path / "models" / "shop--tiny" / "model.safetensors").read_bytes() == whole
