"""Table 1 of e-OSVOS's paper: every row trained and tested, beside the paper's figures.

    make table1 ARGS='--data-root /data'          ResNet-50 on YouTube-VOS and DAVIS 2017: days on four GPUs
    make table1 ARGS='--small'                    a tiny network on synthetic videos: a check that every row runs
    make table1 ARGS='--real --data-root /data --init runs/real/first/learner.safetensors --seconds 600 --seeds 0 1 2'
                                                  the network that ships, all rungs for the same time
    make table1 ARGS='... --videos two-objects --eval dataset=folder data_root=pasted'
                                                  the same learners on other videos: OUT/table-two-objects.md

Everything resumes: stopped at any moment, the same command goes on where it was. --train and --eval pass settings on.
OUT/table.md and OUT/table.csv grow with every finished row. Gains are means over objects and seeds; their 95 %
intervals are of 2,000 bootstrap samples of pairs of the same object and seed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eosvos.evaluation.results import load, to_csv
from eosvos.files import write_text


@dataclass(frozen=True)
class Row:
    """A row of the table: its learner, how it is tested at each T, and the paper's J&F."""

    text: str
    learner: str  # name in TRAININGS
    test: tuple[str, ...]
    paper: dict[int, float]  # by T
    below: str | None  # the row that it is compared with at T=10
    gain: float | None  # in the paper


TRAININGS = {  # command and configuration
    "parent": ("parent_train", "table1_parent"),
    "single": ("meta_train", "table1_single"),
    "neuron": ("meta_train", "table1_neuron"),
    "lovasz": ("meta_train", "paper_joint"),
}
BARE = ("propagation.boxes=0", "ona=false")
ROWS = {
    "parent": Row(
        "Mask R-CNN + parent training + single LR search",
        "parent",
        BARE,
        {10: 33.6, 50: 39.7, 100: 41.6, 1000: 42.7},
        None,
        None,
    ),
    "single": Row("Mask R-CNN + learn model initialization and single LR", "single", BARE, {10: 64.4}, "parent", 30.8),
    "neuron": Row("+ learn neuron level learning rates", "neuron", BARE, {10: 67.2}, "single", 2.8),
    "lovasz": Row("+ group normalization + Lovász-softmax", "lovasz", BARE, {10: 69.4}, "neuron", 2.2),
    "propagation": Row(
        "+ bounding box propagation (e-OSVOS)",
        "lovasz",
        ("ona=false",),
        {10: 69.9, 50: 71.3, 100: 71.2},
        "lovasz",
        0.5,
    ),
    "online": Row(
        "+ online adaptation (e-OSVOS-OnA)",
        "lovasz",
        ("ona=true",),
        {10: 71.2, 50: 73.7, 100: 74.8},
        "propagation",
        1.3,
    ),
}

# Other networks than the paper's have their own sizes, and no published batch norms: one norm in all rows.
_OWN = [f"model.{name}=null" for name in ("rpn_pre", "rpn_post", "rpn_pre_test", "rpn_post_test")] + ["model.norm="]
_META = ["meta.inner_clip=5", "meta.clip=10", "meta.theta_lr=1e-3", "meta.rates_lr=2e-3", "meta.warmup=10"]
SCALES: dict[str, dict[str, list[str]]] = {
    "paper": {"train": [], "parent": [], "meta": [], "test": []},
    "small": {
        "train": ["model=tiny", "taskset=synthetic", "init=", *_OWN],
        "parent": [
            "parent.iterations=120",
            "parent.tasks=4",
            "parent.theta_lr=2e-3",
            "parent.validate_every=60",
            "search.tasks=6",
            "search.rates=[0.03,0.1,0.3]",
            "search.inner_clip=5",
        ],
        "meta": [
            *_META,
            "meta.rate=5e-2",
            "meta.iterations=60",
            "meta.beta2=0.97",
            "meta.mask_warm_up=30",
            "meta.validate_every=30",
            "meta.validation_tasks=6",
        ],
        "test": ["dataset=synthetic", "dataset.count=2", "dataset.length=8", "dataset.size=[120,216]"],
    },
    "real": {
        "train": ["model=mobilenet_v2", "taskset=real", *_OWN],
        "parent": [
            "parent.tasks=4",
            "parent.theta_lr=3e-4",
            "parent.beta2=0.99",
            "search.tasks=24",
            "search.rates=[0.003,0.01,0.03,0.1]",
            "search.inner_clip=5",
        ],
        "meta": [*_META, "meta.theta_lr=3e-4", "meta.rate=3e-2", "meta.beta2=0.97", "meta.final=0.1"],
        "test": ["dataset=real-small-test", "window.size=learner"],
    },
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument("--small", action="store_const", const="small", dest="scale", help="minutes on two CPU cores")
    scale.add_argument("--real", action="store_const", const="real", dest="scale", help="the network that ships")
    parser.add_argument("--data-root", help="holds YouTube-VOS and DAVIS-2017; --real: what taskset=real wants")
    parser.add_argument("--init", help="weights that all trainings begin with; by default those of their configuration")
    parser.add_argument("--out", type=Path, help="by default runs/table1/SCALE")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--seconds", type=float, help="of each training, in place of iterations")
    parser.add_argument("--processes", type=int, default=1, help="of a training: 1, 2 or 4")
    parser.add_argument("--steps", type=int, nargs="+", help="T of every row, in place of the paper's")
    parser.add_argument("--videos", default="", help="names the tests on other videos that --eval sets")
    parser.add_argument("--train", nargs="*", default=[], metavar="SETTING", help="of the trainings, say meta.tasks=2")
    parser.add_argument("--eval", nargs="*", default=[], metavar="SETTING", help="of every test, say dataset=davis16")
    given = parser.parse_args()
    given.scale = given.scale or "paper"
    given.out = given.out or Path("runs/table1") / given.scale
    if given.data_root is None and given.scale != "small":
        parser.error("--data-root: the folder with the data is wanted; --small needs none")
    for seed in given.seeds:
        trained: dict[str, Path] = {}  # some rows share a learner
        for name, row in ROWS.items():
            if row.learner not in trained:
                trained[row.learner] = train(row.learner, seed, given)
            test(name, row, trained[row.learner], seed, given)
            tabulate(given.out, given.seeds, given.videos)
    return 0


def train(name: str, seed: int, given: argparse.Namespace) -> Path:
    """Run or continue a training; the path of its learner."""
    command, training = TRAININGS[name]
    part = "parent" if command == "parent_train" else "meta"
    out, settings = given.out / f"seed-{seed}" / name, SCALES[given.scale]
    own = [f"training={training}", f"out={out}", f"seed={seed}", "resume=true", *settings["train"], *settings[part]]
    if given.scale != "paper":
        own += [f"model.mask_loss={'lovasz' if name == 'lovasz' else 'cross_entropy'}"]
    own += [] if given.data_root is None else [f"data_root={given.data_root}"]
    own += [] if given.init is None else [f"init={given.init}"]
    own += [] if given.seconds is None else [f"{part}.seconds={given.seconds}"]
    foreign = ("meta.",) if part == "parent" else ("parent.", "search.")
    start = [sys.executable]
    if given.processes > 1:
        start += ["-m", "eosvos.cli.launch", "--standalone", f"--nproc-per-node={given.processes}"]
    run([*start, "-m", f"eosvos.{command}", *own, *(s for s in given.train if not s.startswith(foreign))])
    return out / "learner.safetensors"


def test(name: str, row: Row, learner: Path, seed: int, given: argparse.Namespace) -> None:
    """Run or continue the evaluations of a row, one folder for each T."""
    steps = given.steps or list(row.paper)
    own = [
        f"learner={learner}",
        f"out={tests(given.out, seed, given.videos) / name}",
        f"seed={seed}",
    ]
    own += [f"iters={','.join(map(str, steps))}", "fine_tuning.clip=learner", *SCALES[given.scale]["test"], *row.test]
    own += [] if given.data_root is None or given.scale == "small" else [f"data_root={given.data_root}"]
    replaced = tuple(setting.split("=")[0] + "=" for setting in given.eval)
    own = [setting for setting in own if not setting.startswith(replaced)]
    run([sys.executable, "-m", "eosvos.eval", "-m", "experiment=table1", *own, *given.eval])


def run(command: list[str]) -> None:
    print("$", " ".join(command), flush=True)
    status = subprocess.run(command, env={"OMP_NUM_THREADS": "1", **os.environ}).returncode
    if status:
        sys.exit(status)  # it has said why


Figures = dict[tuple[str, int], dict[str, float]]  # J&F by "seed sequence_object", of a row at T


def tests(out: Path, seed: int, videos: str) -> Path:
    return out / f"seed-{seed}" / suffixed("eval", videos)


def suffixed(name: str, videos: str) -> str:
    return f"{name}-{videos}" if videos else name


def tabulate(out: Path, seeds: list[int], videos: str = "") -> None:
    """OUT/table.csv, a line for each row, T and seed, and OUT/table.md."""
    figures: Figures = {}
    lines = []
    for name in ROWS:
        for seed in seeds:
            for table in sorted((tests(out, seed, videos) / name).glob("**/global.csv")):  # of finished runs
                results = load(table.parent)
                steps = int(results.fingerprint["iters"])
                lines.append({"row": name, "T": steps, "seed": seed, **results.summary})
                objects = {f"{seed} {r['Sequence']}": 50 * (r["J-Mean"] + r["F-Mean"]) for r in results.rows()}
                figures.setdefault((name, steps), {}).update(objects)
    if lines:
        write_text(out / f"{suffixed('table', videos)}.csv", to_csv(lines))
        write_text(out / f"{suffixed('table', videos)}.md", markdown(figures))
        print(markdown(figures), flush=True)


def markdown(figures: Figures) -> str:
    """J&F of all rows here and in the paper, and what each rung gains at T=10."""
    lines = ["| | T | J&F | gain at T=10 (95 % interval) | paper: J&F | gain |", "|---|---|---|---|---|---|"]
    for name, row in ROWS.items():
        for steps in sorted({t for row_name, t in figures if row_name == name}):
            here = figures[name, steps]
            gain = there = ""
            if steps == 10 and row.below is not None and (row.below, 10) in figures:
                gain, there = interval(here, figures[row.below, 10]), f"{row.gain:+.1f}"
            paper = f"{row.paper[steps]:.1f}" if steps in row.paper else ""
            mean = sum(here.values()) / len(here)
            lines.append(f"| {row.text} | {steps} | {mean:.1f} | {gain} | {paper} | {there} |")
    return "\n".join(lines) + "\n"


def interval(here: dict[str, float], below: dict[str, float]) -> str:
    """The mean difference over what both have, and its bootstrap interval."""
    pairs = np.array([here[key] - below[key] for key in here if key in below])
    if len(pairs) == 0:
        return ""
    draws = np.random.default_rng(0).choice(pairs, (2000, len(pairs))).mean(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{pairs.mean():+.1f} ({low:+.1f} to {high:+.1f})"


if __name__ == "__main__":
    sys.exit(main())
