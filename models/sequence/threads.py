"""Training's own thread count and random stream; the process's are put back.

with own_torch(num_threads=1): ...
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def own_torch(num_threads: int) -> Iterator[None]:
    """Within, torch runs on `num_threads` and draws from a stream of its own."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(before)
