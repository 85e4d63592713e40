"""XLM-RoBERTa's tokenizer from its Unigram pieces, as `tokenizers` runs it.

Kudo, Subword Regularization, arXiv:1804.10959 (Unigram); Conneau et al., arXiv:1911.02116 (the vocabulary).
"""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tokenizers
    from tokenizers import normalizers

PRIVATE_USE = 0xE000
# Behind the compatibility ideographs NFKC changes nothing.
NFKC_END = 0x2FA20


@dataclass(frozen=True, slots=True)
class Pieces:
    """The Unigram vocabulary (piece, log probability), its special ids, and what single characters become before it."""

    scored: list[tuple[str, float]]
    bos: int
    eos: int
    pad: int
    unknown: int
    replacements: dict[str, str]


def build_tokenizer(pieces: Pieces) -> "tokenizers.Tokenizer":
    """XLM-RoBERTa's tokenizer: normalisation, split at spaces, Unigram pieces, `<s> … </s>`."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
    from tokenizers.models import Unigram

    bos, eos = pieces.scored[pieces.bos][0], pieces.scored[pieces.eos][0]
    tokenizer = Tokenizer(Unigram(pieces.scored, unk_id=pieces.unknown, byte_fallback=False))
    tokenizer.normalizer = _normalizer(pieces.replacements)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    specials = [pieces.bos, pieces.pad, pieces.eos, pieces.unknown, len(pieces.scored) - 1]
    tokenizer.add_special_tokens([pieces.scored[i][0] for i in specials])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, pieces.bos), (eos, pieces.eos)],
    )
    return tokenizer


@cache
def _changed_by_nfkc() -> tuple[str, ...]:
    """The single characters that the library's NFKC (of its own Unicode version) turns into something else."""
    from tokenizers import normalizers

    single = [c for c in map(chr, range(0x80, NFKC_END)) if not "\ud800" <= c <= "\udfff"]
    normal = normalizers.NFKC().normalize_str("\n".join(single)).split("\n")
    return tuple(c for c, to in zip(single, normal, strict=True) if c != to)


def _normalizer(replacements: dict[str, str]) -> "normalizers.Normalizer":
    """NFKC with the exceptions of the file's table: control characters go, invisible ones become a space, 「～」 stays.

    What has to stay (「3～5天」 was seen in training with its wide tilde) passes NFKC under a private-use character.
    """
    from tokenizers import Regex, normalizers

    def becoming(target: str) -> list[Any]:
        codes = "".join(f"\\x{{{ord(c):x}}}" for c, to in replacements.items() if to == target)
        return [normalizers.Replace(Regex(f"[{codes}]"), target)] if codes else []

    nfkc = normalizers.NFKC()
    kept = [(c, chr(PRIVATE_USE + i)) for i, c in enumerate(c for c in _changed_by_nfkc() if c not in replacements)]
    return normalizers.Sequence(
        becoming("")
        + becoming(" ")
        + [normalizers.Replace(c, alias) for c, alias in kept]
        + [nfkc]
        + [normalizers.Replace(alias, c) for c, alias in kept]
    )
