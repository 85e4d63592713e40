"""Any causal language model that transformers knows, on a graphics processor where there is one."""

from pathlib import Path
from typing import Any

from bot.engines.decoder import Text

TEXTS_MAX = 4
POSITIONS_MAX = 32_768


class TorchDecoder:
    """See `Decoder`. Texts take turns, a token each: none waits for another's end, each costs what it does alone.

    Raises whatever transformers and peft raise for folders that do not fit.
    """

    texts_max = TEXTS_MAX

    def __init__(self, folder: Path, adapter: Path | None, threads: int | None) -> None:
        import torch

        from finetune.loading import load_generator
        from finetune.lora import load_lora

        if threads:
            torch.set_num_threads(threads)
        model, _ = load_generator(folder)
        if adapter is not None:
            model = load_lora(model, adapter)
        self._model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        self.positions = min(int(getattr(model.config, "max_position_embeddings", 0) or POSITIONS_MAX), POSITIONS_MAX)
        self._texts: dict[Text, Any] = {}

    def admit(self, text: Text) -> bool:
        if len(self._texts) >= TEXTS_MAX:
            return False
        self._texts[text] = None
        return True

    def release(self, text: Text) -> None:
        self._texts.pop(text, None)

    def step(self) -> list[Text]:
        import torch

        with torch.inference_mode():
            for text, cache in self._texts.items():
                tokens = text.written[-1:] if cache is not None else list(text.prompt)
                ids = torch.tensor([tokens], device=self._model.device)
                found = self._model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
                self._texts[text] = found.past_key_values
                text.written.append(int(found.logits[0, -1].argmax()))
        return list(self._texts)
