"""Which process computes where, told without a GPU."""

from __future__ import annotations

import queue

import pytest
import torch

from eosvos.cli import build_method, devices, schema
from eosvos.errors import UserError
from eosvos.evaluation import processes


@pytest.fixture
def gpus(monkeypatch):
    """Two of them, and the numbers of those made the present one."""
    chosen: list[object] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    for key in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(key, raising=False)
    return chosen


def under_torchrun(monkeypatch, rank: int, size: int) -> None:
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(size))


def test_every_process_of_torchrun_has_its_own_gpu(gpus, monkeypatch):
    assert devices.device_of("auto") == torch.device("cuda", 0) and devices.device_of("cpu") == torch.device("cpu")
    assert devices.device_of("cuda:1") == torch.device("cuda", 1)
    under_torchrun(monkeypatch, 1, 2)
    assert devices.device_of("auto") == devices.device_of("cuda") == torch.device("cuda", 1)
    assert devices.compute_on("cuda", 1) == torch.device("cuda", 1) and gpus == [torch.device("cuda", 1)]
    with pytest.raises(UserError, match="device=cuda:1: all 2 processes of this machine would share one GPU"):
        devices.device_of("cuda:1")
    under_torchrun(monkeypatch, 3, 4)
    with pytest.raises(UserError, match="4 processes and 2 GPUs are on this machine"):
        devices.device_of("cuda")


def test_an_evaluation_takes_all_gpus_or_the_one_asked_for(gpus, monkeypatch):
    assert devices.evaluation_devices("auto", None) == (torch.device("cuda"), 2, 2)
    assert devices.evaluation_devices("cuda", 5) == (torch.device("cuda"), 5, 2)
    assert devices.evaluation_devices("cuda:1", None) == (torch.device("cuda", 1), 1, 0)
    assert devices.evaluation_devices("cpu", 3) == (torch.device("cpu"), 3, 0)
    under_torchrun(monkeypatch, 1, 2)
    assert devices.evaluation_devices("auto", None) == (torch.device("cuda", 1), 1, 0)
    monkeypatch.setattr(devices, "cores", lambda: 8)
    assert devices.evaluation_devices("cpu", None) == (torch.device("cpu"), 4, 0)


def test_a_method_computes_on_the_present_gpu_whose_memory_is_measured(gpus, monkeypatch):
    monkeypatch.setattr(build_method, "EOSVOS", lambda learner, seed, device, **more: device)
    nothing = schema.AppConfig(method="eosvos", iters=0, ona=False)
    make = build_method.MakeMethod(nothing, object(), torch.device("cuda"))
    assert make(0) == torch.device("cuda", 1) and gpus == []
    make = build_method.MakeMethod(nothing, object(), torch.device("cuda", 1))
    assert make(0) == torch.device("cuda", 1) and gpus == [torch.device("cuda", 1)]


def test_workers_are_dealt_out_to_the_gpus(gpus, monkeypatch):
    monkeypatch.setattr(processes.signal, "signal", lambda *_: None)
    monkeypatch.setattr(processes, "_end_with_parent", lambda: None)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(processes.cv2, "setNumThreads", lambda _: None)
    monkeypatch.setattr(processes, "_function", None, raising=False)
    turns: queue.SimpleQueue = queue.SimpleQueue()
    for number in (0, 1, 0, None):
        turns.put(number)
    for _ in range(4):
        processes._start_worker(object, turns)
    assert gpus == [0, 1, 0]
