"""A base model and its LoRA adapters in this process: transformers and peft, one generation at a time."""

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.engines.base import EngineError, Message, Piece
from bot.engines.streaming import decode_stream, stops

WAITING_MAX = 8
ADAPTERS_LOADED_MAX = 4
log = logging.getLogger("kefu.engine")


@dataclass(slots=True, eq=False)
class _Task:
    """One generation, shared by the loop that asked for it and the thread that does it."""

    messages: Sequence[Message]
    tokens_max: int
    adapter: str | None
    loop: asyncio.AbstractEventLoop
    pieces: "asyncio.Queue[Piece | EngineError]" = field(default_factory=asyncio.Queue)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def put(self, piece: Piece | EngineError) -> None:
        """From the thread to the loop; a loop that is gone needs it no more."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.pieces.put_nowait, piece)


class LocalEngine:
    """All work with the model happens in one thread, in the order it was asked for: generations and adapter changes.

    `installed` gives the folder of every generator adapter that a request may name; `check` raises for one that must
    not be loaded (altered files, another base model).
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        installed: Callable[[], dict[str, Path]] = dict,
        check: Callable[[Path], object] = Path.is_dir,
        threads: int | None = None,
        waiting_max: int = WAITING_MAX,
    ) -> None:
        self._folder = folder
        self._name = name
        self._installed = installed
        self._check = check
        self._threads = threads
        self._waiting_max = waiting_max
        self._work = ThreadPoolExecutor(1, "generate", initializer=self._prepare_thread)
        self._unfinished: set[_Task] = set()
        self._active: str | None = None
        self._model: Any = None
        self._tokenizer: Any = None
        self._loaded: OrderedDict[str, str] = OrderedDict()
        self._serial = 0
        self._closed = False

    @property
    def name(self) -> str:
        return self._name

    @property
    def active_adapter(self) -> str | None:
        return self._active

    @property
    def adapters(self) -> tuple[str, ...]:
        return tuple(sorted({*self._installed(), *self._loaded}))

    @property
    def ready(self) -> bool:
        """Whether the base model is loaded."""
        return self._model is not None

    async def open(self) -> None:
        """Load the base model now instead of at the first generation. Raises EngineError (`engine_failed`)."""
        await asyncio.get_running_loop().run_in_executor(self._work, self._load)

    async def generate(
        self, messages: Sequence[Message], *, max_tokens: int = 200, model: str | None = None
    ) -> AsyncGenerator[Piece]:
        """See `Engine.generate`. The adapter is settled when this is called, not when its turn comes."""
        if self._closed:
            raise EngineError("engine_closed", "生成模型已经关闭。", "The generator is closed.")
        if len(self._unfinished) > self._waiting_max:
            raise EngineError(
                "engine_busy",
                f"正在排队的生成请求已有 {self._waiting_max} 个，请稍后再试。",
                f"{self._waiting_max} generations are waiting already; please try again later.",
            )
        task = _Task(messages, max_tokens, self._choose(model), asyncio.get_running_loop())
        self._unfinished.add(task)
        work = self._work.submit(self._generate, task)
        work.add_done_callback(lambda _: self._unfinished.discard(task))
        try:
            while True:
                piece = await task.pieces.get()
                if isinstance(piece, EngineError):
                    raise piece
                yield piece
                if piece.finished:
                    return
        finally:
            task.cancelled.set()
            work.cancel()

    def prefer(self, name: str | None) -> None:
        """Start with this installed adapter; like the base model it is loaded at the first generation."""
        self._active = name

    async def use_adapter(self, folder: Path | None, name: str | None) -> None:
        """See `Engine.use_adapter`. Raises EngineError where the adapter cannot be loaded; the old one then stays."""
        if folder is not None and name is not None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._work, self._load_adapter, name, folder)
        self._active = name if folder is not None else None

    async def close(self) -> None:
        """Stop what runs within a token and let go of the model."""
        self._closed = True
        for task in tuple(self._unfinished):
            task.cancelled.set()
        await asyncio.to_thread(self._work.shutdown, wait=True, cancel_futures=True)
        self._model = self._tokenizer = None

    def _choose(self, model: str | None) -> str | None:
        if model is None:
            return self._active
        if model == self._name:
            return None
        if model in self._loaded or model in self._installed():
            return model
        raise EngineError("model_not_found", f"没有名为 {model!r} 的模型。", f"There is no model named {model!r}.")

    # What follows runs in the engine's own thread.

    def _prepare_thread(self) -> None:
        import torch

        if self._threads:
            torch.set_num_threads(self._threads)

    def _load(self) -> None:
        if self._model is not None:
            return
        from finetune.models import load_generator

        try:
            self._model, self._tokenizer = load_generator(self._folder)
        except Exception as error:
            raise _failed(f"{self._name}: {error}") from error

    def _load_adapter(self, name: str, folder: Path) -> str:
        """peft's name of the adapter, loaded if it is not; its own names may hold no dots."""
        self._load()
        if name in self._loaded:
            self._loaded.move_to_end(name)
            return self._loaded[name]
        from peft import PeftModel

        self._serial += 1
        inner = f"adapter{self._serial}"
        try:
            self._check(folder)
            if isinstance(self._model, PeftModel):
                self._model.load_adapter(str(folder), inner, torch_device=str(self._model.device))
            else:
                self._model = PeftModel.from_pretrained(self._model, str(folder), adapter_name=inner).eval()
        except Exception as error:
            raise _failed(f"{name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from error
        self._model.eval()
        self._loaded[name] = inner
        for old in [n for n in self._loaded if n not in (name, self._active)][: -ADAPTERS_LOADED_MAX or None]:
            self._model.delete_adapter(self._loaded.pop(old))
        return inner

    def _generate(self, task: _Task) -> None:
        try:
            if task.cancelled.is_set():
                return
            self._load()
            with self._with_adapter(task.adapter):
                self._decode(task)
        except EngineError as error:
            task.put(error)
        except Exception as error:
            log.exception("generation failed")
            task.put(_failed(type(error).__name__))

    def _with_adapter(self, name: str | None) -> Any:
        """The context in which the model runs with that adapter, or without any."""
        if name is not None:
            folder = self._installed().get(name)
            if name not in self._loaded and folder is None:
                raise _failed(f"{name} is not installed any more")
            self._model.set_adapter(self._load_adapter(name, folder or Path()))
            return nullcontext()
        return self._model.disable_adapter() if self._loaded else nullcontext()

    def _decode(self, task: _Task) -> None:
        import torch

        from finetune.chat import encode_prompt

        prompt = encode_prompt(self._tokenizer, task.messages)
        ids = torch.tensor([prompt], device=self._model.device)
        streamer = decode_stream(self._tokenizer, lambda text: task.put(Piece(text)))
        with torch.inference_mode():
            self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=task.tokens_max,
                do_sample=False,
                # The model's own penalty would count the prompt too and so forbid quoting the sources.
                repetition_penalty=1.0,
                use_cache=True,
                streamer=streamer,
                stopping_criteria=stops(len(prompt), task.cancelled),
            )
        task.put(Piece("", finished=True, prompt_tokens=len(prompt), completion_tokens=streamer.tokens))


def _failed(detail: str) -> EngineError:
    return EngineError("engine_failed", f"生成模型出错：{detail}", f"The generator failed: {detail}")
