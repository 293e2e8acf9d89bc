"""Draws are named by numbers, and a fixed block leaves the global generators as they were."""

import pytest
import torch

from eosvos import seeds


def draws(seed, device="cpu"):
    with seeds.fixed(seed, 1, 2):
        return torch.randperm(100, device=device).cpu()


def test_a_fixed_block_draws_by_its_numbers_and_leaves_no_trace():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    first = draws(5)
    assert torch.equal(torch.rand(4), expected)
    assert torch.equal(first, draws(5)) and not torch.equal(first, draws(6))
    assert torch.equal(first, torch.randperm(100, generator=seeds.generator(5, 1, 2)))
    with pytest.raises(RuntimeError, match="inside"), seeds.fixed(5):
        raise RuntimeError("inside")


def test_a_fixed_block_seeds_the_generators_of_running_gpus_and_puts_them_back(monkeypatch):
    """With CUDA's functions replaced; the next test has the real ones."""
    calls = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: ["before"])
    monkeypatch.setattr(torch.cuda, "manual_seed_all", calls.append)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", calls.append)
    with seeds.fixed(5, 1):
        assert calls == [seeds.derive(5, 1)]
    assert calls[1:] == [["before"]]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: CUDA's generator is not to be had")
def test_a_fixed_block_on_a_gpu():
    torch.cuda.manual_seed_all(3)
    expected = torch.rand(4, device="cuda")
    torch.cuda.manual_seed_all(3)
    first = draws(5, "cuda")
    assert torch.equal(torch.rand(4, device="cuda"), expected)
    assert torch.equal(first, draws(5, "cuda")) and not torch.equal(first, draws(6, "cuda"))
