"""Peers run in an environment of their own, so that what they want is never among the product's dependencies."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def environment(folder: Path, requirements: Path, *, torch: bool = True, **variables: str) -> Path:
    """The peers' Python, installed where it is not there yet, with the product's own build of PyTorch.

    `variables` are of the environment in which what has no wheel is built.
    """
    python = folder / "bin" / "python"
    done = folder / "installed"
    wanted = requirements.read_text()
    if not done.is_file() or done.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints-cpu.txt")]
        if torch:
            subprocess.run([*install, "torch"], check=True)
        subprocess.run([*install, "-r", str(requirements)], check=True, env={**os.environ, **variables})
        done.write_text(wanted)
    return python


class Peer:
    """A process that answers one line of JSON with another. Says {"ready": true} when it can."""

    def __init__(self, python: Path, script: str, *arguments: str, threads: int) -> None:
        self.process = subprocess.Popen(
            [str(python), str(Path(__file__).with_name(script)), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads)},
            text=True,
        )
        self._answer()

    def ask(self, given: Any) -> dict[str, Any]:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(given) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        while line and not line.startswith("{"):  # what a library prints while it loads
            line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the peer ended with {self.process.wait()}")
        return dict(json.loads(line))
