"""Coverage-guided fuzzing of the readers: python tests/fuzz/readers.py --reader docx --seconds 60

Needs atheris (not a dependency), in an environment that also has this product with its test extras:

    pip install -e '.[test]' atheris

Starts from the small valid files of `samples.py` and what `--corpus DIR` holds of earlier runs. Of zip-based formats
one part is changed and the file packed again with the right checksum, so that what lies behind the archive is reached;
each other time the bytes of the archive itself. A finding is anything but a result or a ReadError, more than 10 seconds
or more than 2 GiB for under 100 kB. It is written to `--corpus DIR/found-…` (default: a folder in the temporary one),
and makes the exit status 1; `--reader KIND FILE` runs a finding again. `--reader all` takes each kind in turn.
"""

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

BYTES_MAX = 100_000
SECONDS_MAX = 10
MEMORY_MIB_MAX = 2048


def fuzz(kind: str, seconds: int, corpus: Path, files: list[Path]) -> None:
    """Does not return: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["knowledge", "openpyxl", "xlrd"]):
        import openpyxl  # noqa: F401
        import xlrd  # noqa: F401

        from knowledge.errors import ReadError
        from knowledge.readers import html, pdf, word, workbook  # noqa: F401 - instrumented, where `read` imports late
        from knowledge.readers.limits import Limits
        from knowledge.readers.open import read
    from tests.fuzz.samples import SAMPLES, ZIPPED, parts, zipped

    shelf = Path(tempfile.mkdtemp()) / "file"
    limits = Limits(unpacked_bytes_max=20 * 1024 * 1024)

    def one_input(data: bytes) -> None:
        shelf.write_bytes(data)
        try:
            found = read(shelf, f"any.{kind}", limits=limits)
        except ReadError:
            return
        assert len(found.entries) == len(found.places)
        assert all(entry.question and (entry.answer or entry.action) for entry in found.entries)

    def mutate(data: bytes, size_max: int, seed: int) -> bytes:
        pick = random.Random(seed)
        if kind in ZIPPED and pick.random() < 0.8:
            try:
                members = parts(data)
                name = pick.choice(sorted(members))
            except Exception:  # noqa: BLE001 - not a whole archive any more
                return bytes(atheris.Mutate(data, size_max))
            members[name] = atheris.Mutate(members[name], size_max)
            return zipped(members)[:size_max]
        return bytes(atheris.Mutate(data, size_max))

    folder = corpus / kind
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in SAMPLES.items():
        if name == kind or (kind not in ZIPPED and name not in ZIPPED):
            (folder / f"sample.{name}").write_bytes(data)
    options = [
        f"-max_len={BYTES_MAX}", f"-timeout={SECONDS_MAX}", f"-rss_limit_mb={MEMORY_MIB_MAX}", "-print_final_stats=1",
        f"-max_total_time={seconds}", f"-artifact_prefix={corpus}/found-{kind}-", "-verbosity=0", "-close_fd_mask=0",
    ]  # fmt: skip
    inputs = [str(file) for file in files] or [str(folder)]
    atheris.Setup([sys.argv[0], *options, *inputs], one_input, custom_mutator=mutate)
    atheris.Fuzz()


def main() -> int:
    from tests.fuzz.samples import SAMPLES

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reader", required=True, choices=[*SAMPLES, "all"])
    parser.add_argument("--seconds", type=int, default=60, help="for each reader")
    parser.add_argument("--corpus", type=Path, default=Path(tempfile.gettempdir()) / "kefu-fuzz")
    parser.add_argument("files", nargs="*", type=Path, help="run these once instead")
    options: Any = parser.parse_args()
    if options.reader != "all":
        fuzz(options.reader, options.seconds, options.corpus, options.files)
    command = [sys.executable, __file__, "--seconds", str(options.seconds), "--corpus", str(options.corpus), "--reader"]
    failed = [kind for kind in SAMPLES if subprocess.run([*command, kind], check=False).returncode]
    print(f"findings in: {', '.join(failed) or 'none'} ({options.corpus})")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
