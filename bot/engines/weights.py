"""Weights of a Hugging Face folder or a peft folder as float32 arrays, read where they lie, without PyTorch."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_TYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}


@dataclass(frozen=True, slots=True)
class _Place:
    file: NDArray[np.uint8]
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


class Weights(Mapping[str, Floats]):
    """The tensors of all `*.safetensors` in a folder by name; each is read and widened when it is asked for.

    Format: https://github.com/huggingface/safetensors#format. Raises ValueError for files that are not of it.
    """

    def __init__(self, folder: Path) -> None:
        self._places: dict[str, _Place] = {}
        for path in sorted(folder.glob("*.safetensors")):
            self._places |= _places(path)
        if not self._places:
            raise ValueError(f"{folder} holds no *.safetensors")

    def __getitem__(self, name: str) -> Floats:
        place = self._places[name]
        values = place.file[place.start : place.end].view(_TYPES[place.dtype]).reshape(place.shape)
        if place.dtype == "BF16":  # the upper half of a float32
            values = (values.astype(np.uint32) << 16).view(np.float32)
        widened: Floats = values.astype(np.float32, copy=False)
        return widened

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _places(path: Path) -> dict[str, _Place]:
    try:
        file = np.asarray(np.memmap(path, np.uint8, "r"))
        length = int(file[:8].view("<u8")[0])
        header = json.loads(file[8 : 8 + length].tobytes())
        found = {}
        for name, entry in header.items():
            if name != "__metadata__":
                start, end = (8 + length + offset for offset in entry["data_offsets"])
                if end > len(file):
                    raise ValueError("cut off")
                if entry["dtype"] not in _TYPES:
                    raise ValueError(f"{name} is of type {entry['dtype']}")
                found[name] = _Place(file, entry["dtype"], tuple(entry["shape"]), start, end)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"{path.name} is no safetensors file: {error}") from error
    return found
