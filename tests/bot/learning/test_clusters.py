"""Grouping by the nearest founder, against the rule written out."""

import numpy as np
import pytest

from bot.learning.clusters import Clusters


def unit(rng, count, dimension=8):
    vectors = rng.standard_normal((count, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def by_the_rule(batches, alike):
    """Each vector joins the founder nearest to it, where one is near enough, else it founds a group."""
    founders, groups = [], []
    for vector in np.concatenate(batches):
        near = [float(one @ vector) for one in founders]
        if not near or max(near) < alike:
            near.append(1.0)
            founders.append(vector)
        groups.append(int(np.argmax(near)))
    return groups, len(founders)


@pytest.mark.parametrize("alike", [0.2, 0.6, 0.9, 0.999])
def test_batch_after_batch_each_joins_the_nearest_founder(alike):
    rng = np.random.default_rng(3)
    batches = [unit(rng, count) for count in (1, 60, 0, 40)]
    clusters = Clusters(8, alike)
    found = [number for batch in batches for number in clusters.assign(batch)]
    expected, count = by_the_rule(batches, alike)
    assert (found, len(clusters)) == (expected, count)
    assert 1 < count <= 101
