"""Sums over processes of tensors that the backend cannot reduce where they lie."""

import torch
import torch.distributed as dist

from eosvos.meta.distributed import World


def test_nccl_sums_a_cpu_tensor_on_the_gpu_and_brings_it_back(monkeypatch):
    """With the copy to the GPU and the sum replaced: a second process holds ten times as much."""
    moved = []

    def to_gpu(tensor):
        moved.append(tensor.clone())
        return moved[-1]

    def all_reduce(tensor):
        assert tensor is moved[-1]
        tensor.mul_(11)

    monkeypatch.setattr(dist, "get_backend", lambda: "nccl")
    monkeypatch.setattr(dist, "all_reduce", all_reduce)
    monkeypatch.setattr(torch.Tensor, "cuda", to_gpu)
    totals = torch.tensor([1.0, 2.0], dtype=torch.float64)
    assert World(0, 2).sum_(totals) is totals
    assert totals.tolist() == [11.0, 22.0] and len(moved) == 1
    assert World(0, 1).sum_(totals).tolist() == [11.0, 22.0]


def test_gloo_sums_in_place(monkeypatch):
    monkeypatch.setattr(dist, "get_backend", lambda: "gloo")
    monkeypatch.setattr(dist, "all_reduce", lambda tensor: tensor.mul_(2))
    assert World(1, 2).sum_(torch.ones(2)).tolist() == [2.0, 2.0]
