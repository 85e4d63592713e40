"""A command's short way to the running service."""

import asyncio
import json
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from bot import control
from bot.cli import main
from bot.errors import ConflictError, KefuError
from bot.learning import releases
from bot.storage import adapters


async def echo(asked: dict[str, Any]) -> dict[str, Any]:
    return {"asked": asked}


async def refuse(_asked: dict[str, Any]) -> dict[str, Any]:
    raise ConflictError("nothing_to_roll_back", "无法回退", "Nothing to go back to")


async def break_down(_asked: dict[str, Any]) -> dict[str, Any]:
    raise ZeroDivisionError


HANDLERS: control.Handlers = {"echo": echo, "refuse": refuse, "break": break_down}


async def ask(folder: Path, do: str, **values: Any) -> Any:
    return await asyncio.to_thread(control.ask, folder, do, **values)


async def test_what_is_asked_is_answered_by_the_one_that_runs_and_by_nobody_else(tmp_path):
    assert await ask(tmp_path, "echo") is None
    (tmp_path / control.FILE_NAME).write_text("left by a service that was killed")
    async with control.answering(tmp_path, HANDLERS):
        assert await ask(tmp_path, "echo", kind="encoder") == {"asked": {"do": "echo", "kind": "encoder"}}
        assert stat.S_IMODE((tmp_path / control.FILE_NAME).stat().st_mode) == 0o600
    assert not (tmp_path / control.FILE_NAME).exists()
    assert await ask(tmp_path, "echo") is None


async def test_a_refusal_comes_back_in_its_own_words(tmp_path):
    async with control.answering(tmp_path, HANDLERS):
        for do, code in (
            ("refuse", "nothing_to_roll_back"),
            ("break", "failed"),
            ("format the disk", "unknown_command"),
        ):
            with pytest.raises(KefuError) as caught:
                await ask(tmp_path, do)
            assert caught.value.code == code
            assert caught.value.zh
            assert caught.value.en


@pytest.mark.parametrize("sent", [b"", b"\n", b"[]\n", b"nonsense\n", b"x" * 3 * control.LINE_BYTES_MAX])
async def test_nonsense_harms_nothing(tmp_path, sent):
    def send() -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(tmp_path / control.FILE_NAME))
            try:
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(100)
            except OSError:
                pass

    async with control.answering(tmp_path, HANDLERS):
        await asyncio.to_thread(send)
        assert await ask(tmp_path, "echo") == {"asked": {"do": "echo"}}


async def test_a_folder_too_deep_for_a_socket_is_served_without(tmp_path):
    folder = tmp_path / ("deep" * 30)
    folder.mkdir()
    async with control.answering(folder, HANDLERS):
        assert await ask(folder, "echo") is None


async def switch(database, *names: str) -> None:
    async with database.session() as session:
        for name in names:
            await adapters.register(session, {"name": name, "kind": "encoder"})
            await adapters.activate(session, "encoder", name, None)


@pytest.mark.parametrize("running", [True, False], ids=["asked of the service", "without a service"])
async def test_kefu_adapters_rollback(database, tmp_path, capsys, running):
    await switch(database, "encoder-one", "encoder-two")
    asked = []

    async def roll_back(given: dict[str, Any]) -> dict[str, Any]:
        asked.append(given)
        return await releases.rollback_last(database, given.get("kind"), "cli")

    command = ["adapters", "rollback", "--json", "--data", str(tmp_path / "data")]
    handlers = {"rollback": roll_back} if running else {}
    place = tmp_path / ("data" if running else ".")
    async with control.answering(place, handlers):
        assert await asyncio.to_thread(main, command) == 0
        assert json.loads(capsys.readouterr().out) == {"kind": "encoder", "active": "encoder-one"}
        assert await asyncio.to_thread(main, [*command, "--kind", "generator"]) == 1
        assert "之前没有启用过别的模型" in capsys.readouterr().err
    assert len(asked) == (2 if running else 0)
    async with database.reading() as session:
        assert (await adapters.active(session))["encoder"] == "encoder-one"
