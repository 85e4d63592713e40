"""Files of FAQ rows, as a test wants them."""

import json
from pathlib import Path


def faq_file(tmp_path: Path, *entries: dict, name: str = "faq.jsonl") -> str:
    file = tmp_path / name
    file.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries), "utf-8")
    return str(file)
