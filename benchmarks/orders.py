"""What first order, second order and multi-step losses reach on the synthetic set in the same time.

    python benchmarks/orders.py --seconds 3600 [--variants first_order second_order] [--seeds 0 1] [KEY=VALUE ...]

Each variant (conf/training/) trains for `--seconds` on one core, one after another, each in a process of its own. Its
number of iterations comes from a miniature of the same run, whose phases (warm-ups, annealing) are as long in
proportion, so that every schedule ends when the time does; validation comes on top and is the same for all. Time is
that of the processor, which other work on the machine changes little; the clock's is shown too. KEY=VALUE: further
settings of eosvos.meta_train, for all. A stopped comparison continues by the same command, given again.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import hydra

from eosvos.cli import hydra_app
from eosvos.files import write_text
from eosvos.meta.learner import Learner

VARIANTS = ["first_order", "second_order", "multi_step", "maml_plus_plus"]
PHASES = ("mask_warm_up", "order_warm_up", "multi_step_iterations")  # given in iterations
MINIATURE = 24  # iterations
VALIDATIONS = 6


def train(variant: str, iterations: int, out: Path, more: list[str]) -> tuple[float, float]:
    """Run one training; returns the seconds of the processor and of the clock that it took."""
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(hydra_app.config_dir())):
        meta: Any = hydra.compose("meta_train", overrides=[f"training={variant}", *more]).meta
    phases = [f"meta.{key}={round(meta[key] * iterations / meta.iterations)}" for key in PHASES]
    arguments = [
        f"training={variant}",
        *more,
        f"meta.iterations={iterations}",
        *phases,
        f"out={out}",
        "device=cpu",
        "threads=1",
        f"meta.validate_every={max(iterations // VALIDATIONS, 1)}",
        "resume=true",
    ]
    began, before = time.perf_counter(), processor()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "eosvos.meta_train", *arguments], check=True, env=environment)
    return processor() - before, time.perf_counter() - began


def processor() -> float:
    """Seconds of the processor that ended child processes have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def calibrate(variant: str, more: list[str]) -> float:
    """Seconds of the processor that an iteration takes, without the start and without validation."""
    unjudged = [*more, "meta.validation_tasks=1", "meta.validation_steps=[1]", f"meta.save_every={MINIATURE}"]
    with tempfile.TemporaryDirectory(prefix="eosvos-") as folder:
        long, short = (train(variant, n, Path(folder, str(n)), unjudged)[0] for n in (MINIATURE, VALIDATIONS))
    return max(long - short, 1e-3) / (MINIATURE - VALIDATIONS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--variants", nargs="+", default=VARIANTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=Path("runs/orders"))
    given, more = parser.parse_known_args()
    hydra_app.register()
    plan_file = given.out / "seconds_per_iteration.json"
    plan: dict[str, float] = json.loads(plan_file.read_text()) if plan_file.exists() else {}
    rows: list[dict[str, Any]] = []
    for seed in given.seeds:
        for variant in given.variants:
            out = given.out / f"{variant}-{given.seconds:g}-s{seed}"
            if not (out / "row.json").exists():
                if variant not in plan:
                    plan[variant] = calibrate(variant, more)
                    write_text(plan_file, json.dumps(plan, indent=2))
                iterations = max(round(given.seconds / plan[variant]), VALIDATIONS)
                used, clock = train(variant, iterations, out, [*more, f"seed={seed}"])
                found = Learner.load(out / "learner.safetensors").spec["training"]
                row = {"variant": variant, "seed": seed, "iterations": iterations, "processor": used, "clock": clock}
                write_text(out / "row.json", json.dumps(row | {"found": found}))
            rows.append(json.loads((out / "row.json").read_text()))
    names = [name for name in rows[0]["found"] if name.startswith("J@")]
    print(
        f"\n{'variant':<16}{'seed':>5}{'iterations':>12}{'processor':>11}{'clock':>9}{'best at':>9}", *names, sep="  "
    )
    for row in rows:
        found = row["found"]
        print(
            f"{row['variant']:<16}{row['seed']:>5}{row['iterations']:>12}{row['processor']:>9.0f} s"
            f"{row['clock']:>7.0f} s{found['iteration']:>9}",
            *(f"{found[name]:.3f}".rjust(len(name)) for name in names),
            sep="  ",
        )


if __name__ == "__main__":
    main()
