"""The demo company 青砾生活: an invented shop with its FAQ, policies, order database and labelled questions.

Everything here is data written for Kefu; the functions say where it lies.
"""

import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent


def faq_path() -> Path:
    """The FAQ in the native JSON Lines form."""
    return _FOLDER / "faq.jsonl"


def documents() -> list[Path]:
    """The policy documents (Markdown), in a fixed order."""
    return sorted((_FOLDER / "documents").glob("*.md"))


def golden_path() -> Path:
    """100 labelled questions: `{"query", "faq_id", "type"}`, one a line."""
    return _FOLDER / "golden.jsonl"


def paraphrases_path() -> Path:
    """50 questions with the facts a good reply holds: `{"query", "faq_id", "source"?, "key_facts"}`, one a line.

    `key_facts` is a list of facts, each a list of accepted spellings; a reply holds a fact when one of its
    spellings occurs in it after NFKC and the removal of white space.
    """
    return _FOLDER / "paraphrases.jsonl"


def dialogs_path() -> Path:
    """Corrected conversations in the contract's form, to retrain on."""
    return _FOLDER / "dialogs.jsonl"


def profile_path() -> Path:
    """The company's and the assistant's names and set phrases (JSON)."""
    return _FOLDER / "profile.json"


def actions_folder() -> Path:
    """The company's own rasa-sdk actions."""
    return _FOLDER / "actions"


def create_shop_database(path: Path) -> Path:
    """The order database that `action_order_status` reads, created at `path` where there is none yet.

    One that exists is left as it is. A crash leaves either no database or a whole one; raises OSError
    where the folder cannot be written.
    """
    if path.exists():
        return path
    with closing(sqlite3.connect(":memory:")) as shop:
        shop.executescript((_FOLDER / "shop.sql").read_text(encoding="utf-8"))
        content = shop.serialize()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    written = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        written.replace(path)
    except BaseException:
        written.unlink(missing_ok=True)
        raise
    return path
