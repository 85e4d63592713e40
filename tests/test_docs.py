"""The documents say what the code does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]


def test_tables_of_commands_settings_and_addresses_are_those_of_the_code() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("readme", READMES, ids=lambda page: page.name)
def test_make_targets_of_the_readme_exist(readme: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:\$ |`|=\S+ )make ([a-z]+)", readme.read_text(encoding="utf-8")))
    assert {"run", "test"} <= named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_pages_name_exist(page: Path) -> None:
    from bot.cli import build_parser

    known = set(next(a for a in build_parser()._actions if a.dest == "command").choices)
    # "Kefu follows…" is prose; a command is in code.
    code = re.findall(r"`([^`]+)`|^\$ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    named = {word for parts in code for word in re.findall(r"(?<![\w/.-])kefu ([a-z]+)\b", " ".join(parts))}
    assert named <= known


def test_every_setting_of_the_environment_that_pages_name_exists() -> None:
    from bot.config import Settings

    known = {f"KEFU_{name.upper()}" for name in Settings.model_fields} | {"KEFU_CONFIG", "KEFU_DEMO_SHOP_DB"}
    wrong = {
        (page.name, name)
        for page in PAGES
        for name in re.findall(r"\bKEFU_[A-Z_]+[A-Z]\b", page.read_text(encoding="utf-8"))
        if name not in known and name not in {"KEFU_REST_TOKEN", "KEFU_URL", "KEFU_TOKEN"}  # of other programs
    }
    assert not wrong


def test_chinese_and_english_readme_have_the_same_shape() -> None:
    mark = re.compile(r"^(#+|\||\d\.|\* )", re.MULTILINE)
    chinese, english = (mark.findall(page.read_text(encoding="utf-8")) for page in READMES)
    assert chinese == english
