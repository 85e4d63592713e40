"""The models that find: the encoder and the reranker that the settings name, loaded."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bot.config import Settings
    from knowledge.encoders import TransformerEncoder
    from knowledge.rerankers import TransformerReranker


def load_encoder(settings: "Settings", adapter_folder: Path | None = None) -> "TransformerEncoder":
    """The encoder of the settings, with an adapter; blocking.

    Raises ModelError for an unknown name, EncoderError where the model is not prepared, FinetuneError where the
    adapter was altered, is not signed here, or belongs to another base model.
    """
    from finetune import registry
    from finetune.models import model_checksum, model_folder
    from finetune.signing import Signer
    from knowledge.encoders import TransformerEncoder

    folder = model_folder(settings.encoder, settings.models)
    if adapter_folder:
        registry.verify(adapter_folder, model_checksum(folder), Signer(settings.data))
    return TransformerEncoder(folder, adapter_folder, threads=settings.engine_threads)


def load_reranker(settings: "Settings") -> "TransformerReranker | None":
    """The reranker of the settings, None where none is named; blocking.

    Raises ModelError for an unknown name, RerankerError where the model is not prepared or none.
    """
    if not settings.reranker:
        return None
    from finetune.models import model_folder
    from knowledge.rerankers import TransformerReranker

    return TransformerReranker(model_folder(settings.reranker, settings.models), threads=settings.engine_threads)
