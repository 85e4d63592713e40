"""A base model and its LoRA adapters in this process, writing several replies at once."""

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.engines.base import EngineError, Message, Piece
from bot.engines.decoder import Decoder, Text, open_decoder
from bot.engines.streaming import end_tokens, loops, text_stream
from bot.engines.waiting import FairQueue

WAITING_MAX = 16
DECODERS_MAX = 2
"""Models in memory at once, each with its own adapter: the active one, and one that requests name."""
log = logging.getLogger("kefu.engine")


@dataclass(slots=True, eq=False)
class _Task:
    """One generation, shared by the loop that asked for it and the thread that does it."""

    messages: Sequence[Message]
    tokens_max: int
    adapter: str | None
    loop: asyncio.AbstractEventLoop
    pieces: "asyncio.Queue[Piece | EngineError]" = field(default_factory=asyncio.Queue)
    cancelled: bool = False
    text: Text | None = None
    shown: Callable[[int], str] = str

    def put(self, piece: Piece | EngineError) -> None:
        """From the thread to the loop; a loop that is gone needs it no more."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.pieces.put_nowait, piece)


class LocalEngine:
    """Replies are written by one thread, all of one adapter together; another thread loads models meanwhile.

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
        self._active: str | None = None
        self._tokenizer: Any = None
        self._ends: frozenset[int] = frozenset()
        self._loader = ThreadPoolExecutor(1, "load generator")
        self._writer: threading.Thread | None = None
        # What follows is shared by three threads, and guarded by `_changed`.
        self._changed = threading.Condition()
        self._waiting: FairQueue[_Task] = FairQueue()
        self._running: dict[Text, _Task] = {}
        self._decoders: OrderedDict[str | None, Decoder] = OrderedDict()
        self._used: dict[str, Path] = {}
        self._asked: set[str | None] = set()
        self._leaving: list[str | None] = []
        self._closed = False

    @property
    def name(self) -> str:
        return self._name

    @property
    def active_adapter(self) -> str | None:
        return self._active

    @property
    def adapters(self) -> tuple[str, ...]:
        return tuple(sorted({*self._installed(), *self._used}))

    @property
    def loaded(self) -> tuple[str, ...]:
        with self._changed:
            return tuple(sorted(adapter for adapter in self._decoders if adapter is not None))

    @property
    def ready(self) -> bool:
        """Whether a model is loaded."""
        return bool(self._decoders)

    async def open(self) -> None:
        """Load the active model now instead of at the first generation. Raises EngineError (`engine_failed`)."""
        if not self._decoders:
            await asyncio.get_running_loop().run_in_executor(self._loader, self._load, self._active)

    async def generate(
        self, messages: Sequence[Message], *, max_tokens: int = 200, model: str | None = None, user: str = ""
    ) -> AsyncGenerator[Piece]:
        """See `Engine.generate`. The adapter is settled when this is called, not when its turn comes."""
        task = _Task(messages, max_tokens, self._choose(model), asyncio.get_running_loop())
        with self._changed:
            if self._closed:
                raise _closed()
            begin = self._places(task.adapter)  # so many of those who wait are about to begin
            waiting = len(self._waiting) - begin
            own = self._waiting.waiting_of(user) - begin if user else 0
            if waiting >= self._waiting_max or own >= max(1, self._waiting_max // 2):
                raise EngineError(
                    "engine_busy",
                    f"正在排队的生成请求已有 {waiting} 个，请稍后再试。",
                    f"{waiting} generations are waiting already; please try again later.",
                )
            self._waiting.add(user, task)
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="generate", daemon=True)
                self._writer.start()
            self._changed.notify_all()
        try:
            while True:
                piece = await task.pieces.get()
                if isinstance(piece, EngineError):
                    raise piece
                yield piece
                if piece.finished:
                    return
        finally:
            task.cancelled = True
            with self._changed:
                self._changed.notify_all()

    def prefer(self, name: str | None) -> None:
        """See `Engine.prefer`."""
        self._active = name

    async def use_adapter(self, folder: Path | None, name: str | None) -> None:
        """See `Engine.use_adapter`. Raises EngineError where the adapter cannot be loaded; the old one then stays."""
        if folder is not None and name is not None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._loader, self._load, name, folder)
            self._used[name] = folder
        self._active = name if folder is not None else None

    async def load(self, name: str) -> None:
        """See `Engine.load`. The model that was not used for longest makes room."""
        await asyncio.get_running_loop().run_in_executor(self._loader, self._load, self._choose(name))

    async def unload(self, name: str) -> None:
        """See `Engine.unload`."""
        await asyncio.get_running_loop().run_in_executor(self._loader, self._unload, name)

    async def close(self) -> None:
        """Stop what runs within a token and let go of the models."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        await asyncio.to_thread(self._loader.shutdown, wait=True, cancel_futures=True)
        if self._writer:
            await asyncio.to_thread(self._writer.join)
        self._decoders.clear()
        self._tokenizer = None

    def _choose(self, model: str | None) -> str | None:
        if model is None:
            return self._active
        if model == self._name:
            return None
        if model in self._used or model in self._installed():
            return model
        raise EngineError("model_not_found", f"没有名为 {model!r} 的模型。", f"There is no model named {model!r}.")

    # What follows runs in the thread that loads.

    def _load(self, adapter: str | None, folder: Path | None = None) -> None:
        """Puts the base model with this adapter among the decoders. Raises EngineError."""
        with self._changed:
            if adapter in self._decoders:
                return
        try:
            if adapter is not None:
                folder = folder or self._used.get(adapter) or self._installed().get(adapter)
                if folder is None:
                    raise ValueError("not installed any more")
                self._check(folder)
            self._load_tokenizer()
            self._make_room()
            decoder = open_decoder(self._folder, folder if adapter is not None else None, self._threads)
        except EngineError:
            raise
        # A damaged folder makes each library raise another type.
        except Exception as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise _failed(f"{adapter or self._name}: {reason}") from error
        with self._changed:
            self._decoders[adapter] = decoder
            self._changed.notify_all()

    def _load_tokenizer(self) -> None:
        if self._tokenizer is None:
            from finetune.tokenizer import load_chat_tokenizer

            tokenizer = load_chat_tokenizer(self._folder)
            self._ends = end_tokens(self._folder, tokenizer)
            self._tokenizer = tokenizer

    def _make_room(self) -> None:
        """Waits until the model that was not used for longest has written its replies, and lets go of it."""
        with self._changed:
            while len(self._decoders) >= DECODERS_MAX and not self._closed:
                self._let_go(next(adapter for adapter in self._decoders if adapter != self._active))
            if self._closed:
                raise _closed()

    def _unload(self, adapter: str) -> None:
        with self._changed:
            self._let_go(adapter)

    def _let_go(self, adapter: str | None) -> None:
        """Waits, `_changed` held, until a model has written its replies; none begins meanwhile."""
        self._leaving = [adapter]
        while any(task.adapter == adapter for task in self._running.values()) and not self._closed:
            self._changed.wait()
        self._leaving = []
        if not self._closed:
            self._decoders.pop(adapter, None)

    def _load_wanted(self, adapter: str | None) -> None:
        """As `_load`, for requests: they are told where it fails."""
        problem = None
        try:
            self._load(adapter)
        except EngineError as error:
            problem = error
        with self._changed:
            self._asked.discard(adapter)
            failed = self._waiting.drop(lambda task: task.adapter == adapter) if problem else []
            self._changed.notify_all()
        for task in failed:
            task.put(problem or _closed())

    # What follows runs in the thread that writes.

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._has_work)
                if self._closed:
                    break
                for text in [text for text, task in self._running.items() if task.cancelled]:
                    self._end(text)
                self._waiting.drop(lambda task: task.cancelled)
                self._ask_for_models()
                new = self._next()
                busy = {task.adapter for task in self._running.values()}
                decoders = [(adapter, self._decoders[adapter]) for adapter in self._decoders if adapter in busy]
            if new:
                self._begin(new)
            for adapter, decoder in decoders:
                self._step(adapter, decoder)
        for task in [*self._running.values(), *self._waiting]:
            task.put(_closed())

    def _has_work(self) -> bool:
        return (
            self._closed
            or bool(self._running)
            or any(task.cancelled or self._may_begin(task) or self._may_load(task) for task in self._waiting)
        )

    def _may_begin(self, task: _Task) -> bool:
        return self._places(task.adapter) > 0

    def _places(self, adapter: str | None) -> int:
        """How many more texts the model with this adapter can write at once now."""
        if adapter not in self._decoders or adapter in self._leaving:
            return 0
        together = sum(running.adapter == adapter for running in self._running.values())
        return self._decoders[adapter].texts_max - together

    def _may_load(self, task: _Task) -> bool:
        return task.adapter not in self._decoders and task.adapter not in self._asked

    def _ask_for_models(self) -> None:
        for task in self._waiting:
            if self._may_load(task):
                self._asked.add(task.adapter)
                self._loader.submit(self._load_wanted, task.adapter)

    def _next(self) -> _Task | None:
        """One that waited and runs from now on; one at a time, as its prompt is read alone, too."""
        task = self._waiting.take(self._may_begin)
        if task:
            self._decoders.move_to_end(task.adapter)
            task.text = Text((), task.tokens_max)
            self._running[task.text] = task
        return task

    def _begin(self, task: _Task) -> None:
        from finetune.chat import encode_prompt

        text, decoder = task.text, self._decoders[task.adapter]
        assert text is not None  # noqa: S101 - `_next` made it
        try:
            text.prompt = encode_prompt(self._tokenizer, task.messages)
            most = decoder.positions - task.tokens_max
            if len(text.prompt) > most:
                raise _too_long(len(text.prompt), most)
            task.shown = text_stream(self._tokenizer)
            decoder.admit(text)
        except Exception as error:
            if not isinstance(error, EngineError):
                log.exception("a prompt could not be prepared")
            with self._changed:
                self._end(text)
            task.put(error if isinstance(error, EngineError) else _failed(type(error).__name__))

    def _step(self, adapter: str | None, decoder: Decoder) -> None:
        try:
            more = decoder.step()
        except Exception as error:
            log.exception("generation failed")
            with self._changed:
                for text in [text for text, task in self._running.items() if task.adapter == adapter]:
                    self._end(text).put(_failed(type(error).__name__))
            return
        for text in more:
            self._pass_on(text)

    def _pass_on(self, text: Text) -> None:
        """The newest token to whoever asked, and the end where it has come."""
        task = self._running[text]
        if text.written[-1] in self._ends:
            text.written.pop()
            ended = True
        else:
            shown = task.shown(text.written[-1])
            if shown:
                task.put(Piece(shown))
            ended = len(text.written) >= text.tokens_max or loops(text.written)
        if ended:
            with self._changed:
                self._end(text)
            task.put(Piece("", True, len(text.prompt), len(text.written)))  # noqa: FBT003

    def _end(self, text: Text) -> _Task:
        task = self._running.pop(text)
        self._decoders[task.adapter].release(text)
        self._changed.notify_all()
        return task


def _failed(detail: str) -> EngineError:
    return EngineError("engine_failed", f"生成模型出错：{detail}", f"The generator failed: {detail}")


def _too_long(tokens: int, most: int) -> EngineError:
    return EngineError(
        "prompt_too_long",
        f"对话有 {tokens} 个 token，最多 {most} 个。",
        f"The conversation has {tokens} tokens; at most {most} fit.",
    )


def _closed() -> EngineError:
    return EngineError("engine_closed", "生成模型已经关闭。", "The generator is closed.")
