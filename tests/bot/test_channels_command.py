"""`kefu channels list`: who may use each way in, and how."""

import json
from pathlib import Path

import pytest

from bot.cli import main

CHANNELS = """
[[channels]]
kind = "chatwoot"
name = "open"
base_url = "https://chatwoot.example"
account_id = "1"
api_access_token = "chatwoot-token"

[[channels]]
kind = "chatwoot"
name = "signed"
base_url = "https://chatwoot.example"
account_id = "1"
api_access_token = "chatwoot-token"
webhook_secret = "chatwoot-secret"

[[channels]]
kind = "telegram"
name = "asks"
mode = "polling"
bot_token = "123456:ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefgh"

[[channels]]
kind = "callback"
name = "open"
url = "https://program.example/replies"
"""


def listed(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    (folder / "kefu.toml").write_text(CHANNELS, "utf-8")
    assert main(["channels", "list", "--data", str(folder), *more]) == 0
    return capsys.readouterr().out


def test_each_says_who_may_use_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KEFU_LANGUAGE", raising=False)
    lines = listed(tmp_path, capsys).splitlines()
    said = {(line.split()[0], line.split()[1]): line.split(maxsplit=2)[2] for line in lines}
    assert said["chatwoot", "/webhooks/chatwoot/open"] == "未设 webhook_secret，任何人可用"
    assert said["chatwoot", "/webhooks/chatwoot/signed"] == "平台签名"
    assert said["telegram", "-"] == "由 Kefu 连接平台"
    assert said["callback", "/webhooks/callback/open"] == "未设 token，任何人可用"
    assert said["openai", "/v1/chat/completions"] == "需要 token 或密钥"


def test_programs_are_told_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {f"{one['kind']}/{one['name']}": one for one in json.loads(listed(tmp_path, capsys, "--json"))}
    assert [found[f"chatwoot/{name}"]["closed"] for name in ("open", "signed")] == [False, True]
    assert [found[name]["opens"] for name in ("telegram/asks", "chatwoot/open")] == [True, False]
