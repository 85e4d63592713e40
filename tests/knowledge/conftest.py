"""The real encoder, loaded once."""

from pathlib import Path

import pytest

from knowledge.encoders import TransformerEncoder


@pytest.fixture(scope="session")
def encoder(encoder_folder: Path) -> TransformerEncoder:
    return TransformerEncoder(encoder_folder)
