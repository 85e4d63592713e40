"""The house's one rule: three leaves, one root; heavy libraries are imported where they are used."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LEAVES = ("knowledge", "finetune", "connectors")
HEAVY = (
    "torch", "faiss", "transformers", "peft", "rasa_sdk", "sqlalchemy", "pydantic", "alembic", "openpyxl", "lxml",
    "pypdfium2", "xlrd",
)  # fmt: skip
LINES_MAX = 400


def modules(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, f"{package} has no modules"
    return found


def imports(path: Path) -> Iterator[tuple[str, int]]:
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) + "." if node.level else ""
            yield base + (node.module or ""), node.lineno


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaves_import_neither_each_other_nor_the_root(leaf: str) -> None:
    forbidden = {"bot", *LEAVES} - {leaf}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules(leaf)
        for name, line in imports(path)
        if name.split(".")[0] in forbidden
    ]
    assert not wrong


def test_the_dialogue_knows_neither_http_nor_sql() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules("bot/dialogue")
        for name, line in imports(path)
        if name.startswith(("sqlalchemy", "bot.storage", "bot.api")) or name == "aiohttp.web"
    ]
    assert not wrong


@pytest.mark.parametrize("package", ["bot", *LEAVES])
def test_rooms_are_small(package: str) -> None:
    large = {
        str(path.relative_to(ROOT)): lines
        for path in modules(package)
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LINES_MAX
    }
    assert not large


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from bot.cli import build_parser\n"
        "build_parser().format_help()\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("leaf", LEAVES)
def test_importing_a_leaf_imports_nothing_heavy(leaf: str) -> None:
    program = f"import sys, {leaf}\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []
