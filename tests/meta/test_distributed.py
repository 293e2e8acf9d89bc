"""What processes tell one another."""

from concurrent.futures import ThreadPoolExecutor

import torch
import torch.distributed as dist

from eosvos.meta import distributed
from eosvos.meta.distributed import World


def test_processes_agree_whatever_the_dead_have_left():
    """In the store that torchrun keeps, as threads: twice, the second time beside all that the first has left."""
    store = dist.HashStore()
    words = []
    for _ in range(2):
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda rank: distributed._round(store, rank, 4), range(4)))
        words += sorted(set(found))
    assert len(words) == 2


def test_sums_are_in_place(monkeypatch):
    monkeypatch.setattr(dist, "all_reduce", lambda tensor: tensor.mul_(2))
    assert World(1, 2).all_reduce(torch.ones(2)).tolist() == [2.0, 2.0]
    assert World().all_reduce(torch.ones(2)).tolist() == [1.0, 1.0]
