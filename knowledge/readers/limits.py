"""How large a file and what is in it may be."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds for one file. `unpacked_bytes_max` is for formats that are archives (XLSX)."""

    bytes_max: int = 100 * 1024 * 1024
    unpacked_bytes_max: int = 300 * 1024 * 1024
    archive_members_max: int = 5000
    rows_max: int = 200_000
    columns_max: int = 100
    question_characters_max: int = 2000
    answer_characters_max: int = 30_000
    phrasings_max: int = 1000
    id_characters_max: int = 128
    label_characters_max: int = 200
