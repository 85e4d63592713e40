"""Files as people have them → entries, passages and what could not be taken over."""

from knowledge.readers.isolated import read_isolated
from knowledge.readers.limits import Limits
from knowledge.readers.open import read

__all__ = ["Limits", "read", "read_isolated"]
