"""A language model's tokenizer and chat template for serving, without transformers.

transformers takes 4 s to import on two cores and builds its own tokenizer around the Rust one for another 2 s: with the
embedded model that was most of the service's start. Its names are kept, so that `finetune.chat` works with either.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template
    from tokenizers import AddedToken


class ChatTokenizer:
    """What serving needs of a transformers tokenizer, read from the same files.

    The template sees what transformers shows it: the messages, the special tokens by their names, `strftime_now` and
    `raise_exception` (https://huggingface.co/docs/transformers/chat_templating). Raises OSError, ValueError, KeyError
    or a jinja2 TemplateError for a folder whose files it cannot use.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        if not (folder / "tokenizer.json").is_file():
            raise FileNotFoundError(folder / "tokenizer.json")
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        self.backend_tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._template = _compile(_template_of(folder, config))
        self._names = {name: text for name, one in config.items() if name.endswith("_token") and (text := _text(one))}
        self.eos_token = self._names.get("eos_token")
        self.eos_token_id = self.backend_tokenizer.token_to_id(self.eos_token) if self.eos_token else None

    @property
    def added_tokens_decoder(self) -> "dict[int, AddedToken]":
        return self.backend_tokenizer.get_added_tokens_decoder()

    @property
    def all_special_tokens(self) -> list[str]:
        return list(self._names.values())

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": self.backend_tokenizer.encode(text, add_special_tokens=add_special_tokens).ids}

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        tokenize: bool,
        add_generation_prompt: bool = False,
        **variables: Any,
    ) -> str:
        """The conversation as the model reads it, as text only. Raises ValueError where tokens are wanted."""
        if tokenize:
            raise ValueError("text only: tokenise it by calling the tokenizer")
        return self._template.render(
            messages=messages, add_generation_prompt=add_generation_prompt, **self._names, **variables
        )


def load_chat_tokenizer(folder: Path) -> Any:
    """A `ChatTokenizer`, or transformers' own where the folder's files are of another kind. Raises what that does."""
    from jinja2 import TemplateError

    try:
        return ChatTokenizer(folder)
    except (OSError, ValueError, KeyError, TemplateError):
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _template_of(folder: Path, config: Mapping[str, Any]) -> str:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    return str(config["chat_template"])


def _compile(source: str) -> "Template":
    from jinja2 import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> str:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = lambda value, **options: json.dumps(value, **{"ensure_ascii": False, **options})
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)  # noqa: DTZ005 - as the model reads
    return environment.from_string(source)


def _text(token: Any) -> str:
    """A special token, which tokenizer_config.json writes as its text or as an object with it; none for a switch."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""
