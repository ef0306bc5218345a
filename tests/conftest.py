"""Settings for every test: hypothesis is deterministic, torch is seeded and left as it was."""

from __future__ import annotations

import pytest
import torch

try:
    import hypothesis
except ImportError:  # tests/gpu does without it, where nothing can be installed
    hypothesis = None

# What is tested is so small that a second thread only costs, on a busy machine a hundredfold.
torch.set_num_threads(1)

if hypothesis is not None:
    hypothesis.settings.register_profile(
        "deterministic", derandomize=True, deadline=None, print_blob=True, database=None
    )
    hypothesis.settings.register_profile("search", deadline=None, max_examples=2000)
    hypothesis.settings.load_profile("deterministic")


@pytest.fixture(autouse=True)
def _seeded():
    """Each test starts from the same torch random state and leaves none of its own."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(0)
        yield
