"""The company's own actions: rasa-sdk classes in the files of a folder, run in process.

Each call runs in a thread with an event loop of its own: an action that blocks holds up nothing but itself.
"""

import asyncio
import importlib
import inspect
import logging
import os
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from bot.dialogue.stage import ActionError, ActionRejectedError
from bot.language import say

RUNNING_MAX = 16
DATA_VARIABLE = "KEFU_DATA"
log = logging.getLogger("kefu.actions")


class LocalExecutor:
    """Actions of `folders`; of two with one name the earlier folder's counts. `problems` name broken files."""

    def __init__(self, folders: Sequence[Path], timeout_seconds: float, *, data: Path | None = None) -> None:
        self._timeout_seconds = timeout_seconds
        self._executor: Any = None
        self._running = 0
        self.problems: tuple[str, ...] = ()
        self._environment = os.environ.get(DATA_VARIABLE)
        if data is not None:
            # The company's code has no other way to learn where the data folder is.
            os.environ[DATA_VARIABLE] = str(data.resolve())
        files = [file for folder in reversed(folders) if folder.is_dir() for file in sorted(folder.glob("*.py"))]
        if files:
            self._load(files)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._executor.actions) if self._executor else frozenset()

    async def run(self, call: dict[str, Any]) -> Mapping[str, Any]:
        """The result body of one call. Raises ActionError, ActionRejectedError."""
        name = str(call["next_action"])
        if name not in self.names:
            raise ActionError("action_not_found", name)
        if self._running >= RUNNING_MAX:
            raise ActionError("action_busy", name, f"{RUNNING_MAX} calls are still running")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Mapping[str, Any]] = loop.create_future()
        call_loop: list[asyncio.AbstractEventLoop] = []
        self._running += 1
        thread = threading.Thread(
            target=self._work, args=(call, loop, done, call_loop), name=f"action {name}", daemon=True
        )
        thread.start()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await done
        except TimeoutError:
            # An action that awaits can be stopped; one that blocks keeps its thread until it is done.
            for other in call_loop:
                other.call_soon_threadsafe(_cancel_all, other)
            raise ActionError("action_slow", name, f"no result within {self._timeout_seconds:g} s") from None

    async def close(self) -> None:
        self._executor = None
        if self._environment is None:
            os.environ.pop(DATA_VARIABLE, None)
        else:
            os.environ[DATA_VARIABLE] = self._environment

    def _work(
        self,
        call: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
        done: "asyncio.Future[Mapping[str, Any]]",
        call_loop: list[asyncio.AbstractEventLoop],
    ) -> None:
        outcome: Mapping[str, Any] | ActionError
        try:
            with asyncio.Runner() as runner:
                call_loop.append(runner.get_loop())
                outcome = runner.run(self._call(call))
                call_loop.clear()
        except ActionError as error:
            outcome = error
        except BaseException as error:  # noqa: BLE001 - SystemExit of an action must not end its thread unanswered
            outcome = _failure(str(call["next_action"]), error)
        call_loop.clear()
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._finish, done, outcome)

    def _finish(self, done: "asyncio.Future[Mapping[str, Any]]", outcome: Mapping[str, Any] | ActionError) -> None:
        self._running -= 1
        if done.done():
            return
        if isinstance(outcome, ActionError):
            done.set_exception(outcome)
        else:
            done.set_result(outcome)

    async def _call(self, call: dict[str, Any]) -> Mapping[str, Any]:
        from rasa_sdk.interfaces import ActionExecutionRejection

        name = str(call["next_action"])
        try:
            result = await self._executor.run(call, dispatcher=_dispatcher()())
        except ActionExecutionRejection as error:
            raise ActionRejectedError(name) from error
        body: Mapping[str, Any] = result.model_dump() if result else {}
        return body

    def _load(self, files: Sequence[Path]) -> None:
        from rasa_sdk.executor import ActionExecutor

        logging.getLogger("rasa_sdk").setLevel(logging.WARNING)
        self._executor = ActionExecutor()
        for folder in {file.parent for file in files}:
            _open_package(folder)
        problems: list[str] = []
        for file in files:
            try:
                self._register(file)
            except BaseException as error:  # noqa: BLE001 - a file may do anything, even sys.exit(); the others load
                problem = _problem(file, error)
                problems.append(problem)
                log.error("%s", problem)  # noqa: TRY400 - the line is in it, a trace of ours says nothing more
        self.problems = tuple(problems)

    def _register(self, file: Path) -> None:
        from rasa_sdk import Action

        module = importlib.import_module(f"{_package(file.parent)}.{file.stem}")
        for value in vars(module).values():
            own = inspect.isclass(value) and issubclass(value, Action) and value.__module__ == module.__name__
            # A class without a name of its own is what the company's other actions are built on.
            if own and not inspect.isabstract(value) and value.name is not Action.name:
                self._executor.register_action(value)


def _package(folder: Path) -> str:
    """A folder's files are modules of one package, whose name no other has: `from .orders import …` works in them."""
    return f"kefu_actions_{sha256(str(folder.resolve()).encode()).hexdigest()[:12]}"


def _open_package(folder: Path) -> None:
    name = _package(folder)
    for known in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
        del sys.modules[known]
    package = ModuleType(name)
    package.__path__ = [str(folder.resolve())]
    sys.modules[name] = package


@cache
def _dispatcher() -> type[Any]:
    """rasa-sdk's dispatcher; what an action streams in pieces is one message, not one for each piece."""
    from rasa_sdk.executor import CollectingDispatcher

    class Dispatcher(CollectingDispatcher):  # type: ignore[misc]  # rasa-sdk has no types
        async def stream_end(self) -> None:
            chunks: list[dict[str, Any]] = list(self._stream_accumulated_chunks)
            self._stream_accumulated_chunks.clear()
            self._stream_active = False
            if chunks:
                whole: dict[str, Any] = {key: value for chunk in chunks for key, value in chunk.items()}
                whole["text"] = "".join(str(chunk.get("text") or "") for chunk in chunks)
                whole["buttons"] = [button for chunk in chunks for button in chunk.get("buttons") or []]
                whole["json_message"] = whole.pop("custom", None)
                self.utter_message(**whole)

    return Dispatcher


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()


def _place(file: str, error: BaseException) -> str:
    """The line of the company's file that an exception came from, as file:line."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file or not file]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else file


def _problem(file: Path, error: BaseException) -> str:
    place = _place(str(file), error)
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    return say(
        f"业务动作文件无法载入：{place}：{what}", f"A file of business actions cannot be loaded: {place}: {what}"
    )


def _failure(name: str, error: BaseException) -> ActionError:
    """Names the kind and the place of the failure; the exception's text may hold personal data and stays out."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "rasa_sdk" not in f.filename]
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return ActionError("action_failed", name, f"{type(error).__name__}{place}")
