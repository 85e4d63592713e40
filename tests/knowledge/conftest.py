"""The real encoder by its short name."""

import pytest

from knowledge.encoders import TransformerEncoder


@pytest.fixture(scope="session")
def encoder(shared_encoder: TransformerEncoder) -> TransformerEncoder:
    return shared_encoder
