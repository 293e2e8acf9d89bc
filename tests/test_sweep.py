"""Sweeps by Hydra's own launchers: on a cluster (composed only) and over local processes."""

from __future__ import annotations

import hydra
import pytest

from eosvos import eval
from eosvos.cli import hydra_app

COPY = ["method=copy_first", "dataset.count=1", "dataset.length=4", "dataset.size=[64,112]", "processes=1"]
MISSING = "is not installed; pip install 'eosvos[sweep]'"


def test_a_cluster_sweep_composes():
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason=f"hydra-submitit-launcher {MISSING}")
    hydra_app.register()
    overrides = ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu", "hydra.launcher.gpus_per_node=1"]
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(hydra_app.config_dir())):
        composed = hydra.compose("eval", overrides=overrides, return_hydra_config=True)
    assert composed.hydra.launcher.partition == "gpu" and composed.hydra.launcher.gpus_per_node == 1
    assert composed.hydra.launcher._target_.endswith("SlurmLauncher")


def test_a_local_sweep_ends_with_one_comparison(tmp_path, monkeypatch, capfd):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason=f"hydra-joblib-launcher {MISSING}")
    from joblib.externals.loky import get_reusable_executor

    monkeypatch.chdir(tmp_path)
    start = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    try:
        assert eval.main([*start, "seed=0,1", *COPY, "out=sweep"]) == 0, capfd.readouterr().err
        out = capfd.readouterr().out
        assert "seed=0" in out and "seed=1" in out and "comparison.csv" in out
        assert {path.name for path in tmp_path.glob("sweep/comparison.*")} == {"comparison.csv", "comparison.png"}
        # A second sweep of this process: its notes are its own, and a mistake in a job is told without a traceback.
        assert eval.main([*start, "sequences=[bear],[camel]", *COPY, "out=wrong"]) == hydra_app.MISTAKE
        said = capfd.readouterr().err
        either = any(f"[{name}]: no such sequence" in said for name in ("bear", "camel"))  # the first to end tells
        assert either and "Traceback" not in said
    finally:
        get_reusable_executor().shutdown(wait=True)
    assert not list(tmp_path.rglob("multirun.yaml")) and not list(tmp_path.glob(".eosvos-*"))
