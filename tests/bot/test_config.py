"""Settings: precedence, refusal by name, masking."""

import json
import logging
import re
from pathlib import Path

import pytest

from bot.cli import main
from bot.config import Settings, load_settings
from bot.errors import ConfigError
from bot.expectations import expectation
from bot.settings_sources import effective, masked


def test_flags_win_over_environment_over_file_over_default(tmp_path, monkeypatch):
    (tmp_path / "kefu.toml").write_text('port = 9001\nhost = "10.0.0.1"\nmessages_per_minute = 7\n')
    monkeypatch.setenv("KEFU_DATA", str(tmp_path))
    monkeypatch.setenv("KEFU_PORT", "9002")
    monkeypatch.setenv("KEFU_HOST", "10.0.0.2")
    found = effective({"host": "10.0.0.3", "port": None})
    assert (found.settings.host, found.settings.port, found.settings.messages_per_minute) == ("10.0.0.3", 9002, 7)
    assert found.settings.sessions_per_minute == 300
    assert [found.origins[name] for name in ("host", "port", "messages_per_minute", "sessions_per_minute")] == [
        "--host",
        "KEFU_PORT",
        "kefu.toml",
        "default",
    ]


@pytest.mark.parametrize(
    ("variable", "value", "zh", "en"),
    [
        ("KEFU_PORT", "abc", "KEFU_PORT 必须是 1 到 65535 的整数，而不是 'abc'", "integer from 1 to 65535, not 'abc'"),
        ("KEFU_PORT", "70000", "1 到 65535", "from 1 to 65535, not '70000'"),
        ("KEFU_DEMO", "maybe", "KEFU_DEMO 必须是 true 或 false", "KEFU_DEMO must be true or false, not 'maybe'"),
        ("KEFU_ANSWER_THRESHOLD", "1.5", "0 到 1 的数", "a number from 0 to 1, not '1.5'"),
        ("KEFU_LANGUAGE", "fr", "zh 或 en", "zh or en, not 'fr'"),
        ("KEFU_TRUSTED_PROXIES", "10.0.0.0/8,nonsense", "IP 地址或网段", "IP addresses or networks"),
        ("KEFU_WIDGET_ORIGINS", "shop.example.com", "网站来源", "a list of origins"),
        ("KEFU_CONVERSATION_DAYS", "", "1 到 36500 的整数", "not ''"),
        ("KEFU_CHANNELS", "[", "[[channels]]", "[[channels]]"),
        ("KEFU_DATABASE_URL", "mysql://u:hidden@host/db", "数据库地址", "a database address"),
        ("KEFU_ADMIN_PASSWORD", "short", "8 到 256", "8 to 256"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_name_value_and_expectation(monkeypatch, variable, value, zh, en):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert variable in caught.value.zh
    assert zh in caught.value.zh
    assert en in caught.value.en
    assert "short" not in caught.value.zh
    assert "hidden" not in caught.value.zh


def test_an_unknown_key_of_the_file_is_refused_with_the_nearest_name(tmp_path):
    file = tmp_path / "my.toml"
    file.write_text("prot = 1\n")
    with pytest.raises(ConfigError, match=r"my\.toml.*prot.*port"):
        load_settings({}, file)


def test_a_broken_or_missing_file_is_named(tmp_path):
    file = tmp_path / "my.toml"
    with pytest.raises(ConfigError, match=r"my\.toml"):
        load_settings({}, file)
    file.write_text("port = = 3")
    with pytest.raises(ConfigError, match="TOML"):
        load_settings({}, file)


def test_an_unknown_variable_is_warned_about(monkeypatch, caplog):
    monkeypatch.setenv("KEFU_PROT", "1")
    with caplog.at_level(logging.WARNING):
        load_settings()
    assert "KEFU_PROT" in caplog.text
    assert "KEFU_PORT" in caplog.text


def test_thresholds_must_be_in_order():
    with pytest.raises(ConfigError, match="clarify_threshold"):
        load_settings({"answer_threshold": 0.5, "clarify_threshold": 0.6})


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1


def test_channels_come_from_the_file_with_values_from_the_environment(tmp_path, monkeypatch):
    file = tmp_path / "kefu.toml"
    file.write_text(
        '[[channels]]\nkind = "telegram"\nname = "shop"\nbot_token = "env:SHOP_TOKEN"\n[[channels]]\nkind = "rest"\n'
    )
    with pytest.raises(ConfigError, match="SHOP_TOKEN"):
        load_settings({}, file)
    monkeypatch.setenv("SHOP_TOKEN", "very-secret")
    settings = load_settings({}, file)
    assert settings.channels == (
        {"kind": "telegram", "name": "shop", "bot_token": "very-secret"},
        {"kind": "rest", "name": "rest"},
    )
    assert "very-secret" not in json.dumps(masked(settings))


def test_all_variables_that_are_not_set_are_named_at_once(monkeypatch):
    sample = Path(__file__).parents[2] / "docs" / "channels" / "kefu.sample.toml"
    wanted = set(re.findall(r'"env:(\w+)"', sample.read_text(encoding="utf-8")))
    for name in wanted:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WECOM_SECRET", "very-secret")
    with pytest.raises(ConfigError) as caught:
        load_settings({}, sample)
    assert {name for name in wanted if name in caught.value.zh} == wanted - {"WECOM_SECRET"}
    assert {name for name in wanted if name in caught.value.en} == wanted - {"WECOM_SECRET"}
    assert "channels[0].token" in caught.value.en


@pytest.mark.parametrize(
    ("tables", "zh", "en"),
    [
        (['name = "店"'], "telegram 的 name 是 '店'；只能用小写字母、数字", "name of telegram is '店'; it has small"),
        (['name = "Shop A"'], "telegram 的 name 是 'Shop A'", "name of telegram is 'Shop A'"),
        (["name = 5"], "telegram 的 name 是 5", "name of telegram is 5"),
        (['name = "a"', 'name = "a"'], "telegram/a 写了两次", "telegram/a is there twice"),
        (["", ""], "telegram/telegram 写了两次", "telegram/telegram is there twice"),
    ],
)
def test_a_channels_wrong_name_is_said_and_its_secrets_are_not(tmp_path, tables, zh, en):
    file = tmp_path / "kefu.toml"
    head = '[[channels]]\nkind = "telegram"\nbot_token = "very-secret"\n'
    file.write_text("".join(f"{head}{one}\n" for one in tables), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings({}, file)
    assert zh in caught.value.zh
    assert en in caught.value.en
    assert "very-secret" not in caught.value.zh + caught.value.en


@pytest.mark.parametrize("table", ['name = "x"', 'kind = "a"\n[[channels]]\nkind = "a"', 'kind = "../a"'])
def test_channels_without_kind_or_twice_are_refused(tmp_path, table):
    file = tmp_path / "kefu.toml"
    file.write_text(f"[[channels]]\n{table}\n")
    with pytest.raises(ConfigError, match="channels"):
        load_settings({}, file)


def test_paths_of_a_file_lie_beside_it(tmp_path):
    file = tmp_path / "my.toml"
    file.write_text('data = "here"\n')
    assert load_settings({}, file).data == tmp_path / "here"


def test_every_setting_says_what_it_is_in_both_languages():
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.json_schema_extra["en"], name
        zh, en = expectation(field)
        assert zh, name
        assert en, name


def test_show_masks_secrets_and_names_sources(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KEFU_ADMIN_PASSWORD", "correct horse battery")
    monkeypatch.setenv("KEFU_PORT", "8123")
    assert main(["config", "show", "--json", "--data", str(tmp_path)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["port"] == shown["port"] | {"value": 8123, "source": "KEFU_PORT", "variable": "KEFU_PORT"}
    assert shown["data"]["source"] == "--data"
    assert shown["conversation_days"]["unit"] == "days"
    assert "correct horse" not in json.dumps(shown)
    assert main(["config", "show", "--data", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "correct horse" not in text
    assert "[KEFU_PORT]" in text


def test_a_wrong_setting_stops_a_command_with_one_sentence(monkeypatch, capsys):
    monkeypatch.setenv("KEFU_PORT", "abc")
    assert main(["config", "show"]) == 1
    assert capsys.readouterr().err.strip().splitlines() == ["KEFU_PORT 必须是 1 到 65535 的整数，而不是 'abc'"]


def test_default_paths():
    settings = load_settings({"data": Path("x")})
    assert settings.database == "sqlite+aiosqlite:///x/kefu.db"
    assert settings.actions == Path("x/actions")
