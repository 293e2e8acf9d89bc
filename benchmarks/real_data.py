"""The paper's Table 1 at our scale: the trainings of conf/training/real_*.yaml, each tested on six held-out videos.

    make real-data ARGS='--data-root /data --processes 2'
    python benchmarks/real_data.py --data-root /data --train init=resnet18.safetensors  # ImageNet weights in a file

Everything resumes: stopped at any moment, the same command goes on where it was. All of it takes hours; --iterations
sets the length of the trainings, and --train and --eval pass settings on. OUT/table.md and OUT/table.csv grow with
every finished row.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from eosvos.evaluation.results import load, to_csv
from eosvos.files import write_text

TRAININGS = ("parent", "single", "tensor", "neuron", "cross_entropy", "from_parent")
ROWS = {
    "parent": "ordinary training, best single rate",
    "single": "meta-learned, a single rate",
    "tensor": "meta-learned, a rate per tensor",
    "neuron": "meta-learned, a rate per neuron",
    "cross_entropy": "... cross-entropy in place of Lovász",
    "no_propagation": "... no box propagation",
    "from_parent": "... from the initialization of ordinary training",
}
PER_UPDATE = 1.6  # ordinary updates in the time of one meta-update (docs/results/main-job.md)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True, help="holds DAVIS-2016, ECSSD, PennFudanPed and COCO-500")
    parser.add_argument("--out", type=Path, default=Path("runs/real"))
    parser.add_argument("--only", nargs="+", choices=TRAININGS, default=TRAININGS)
    parser.add_argument("--iterations", type=int, default=600, help="of meta-training; ordinary training has 1.6 times")
    parser.add_argument("--processes", type=int, default=1, help="of a training: 1, 2 or 4")
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 1, 5, 10, 50, 100], help="T")
    parser.add_argument("--no-online", action="store_true", help="without online adaptation")
    parser.add_argument(
        "--train", nargs="*", default=[], metavar="SETTING", help="of the trainings, say meta.tasks=4 search.tasks=8"
    )
    parser.add_argument("--eval", nargs="*", default=[], metavar="SETTING", help="of every evaluation")
    given = parser.parse_args()
    for name in given.only:
        learner = train(name, given)
        evaluate(name, learner, given)
        if name == "neuron":
            evaluate("no_propagation", learner, given, "propagation.boxes=0")
        tabulate(given.out)
    return 0


def train(name: str, given: argparse.Namespace) -> Path:
    """Run or continue a training; the path of its learner."""
    command, key, iterations, foreign = "eosvos.meta_train", "meta", given.iterations, ("parent.", "search.")
    if name == "parent":
        command, key, foreign = "eosvos.parent_train", "parent", ("meta.",)
        iterations = round(PER_UPDATE * given.iterations)
    start = [sys.executable]
    if given.processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={given.processes}"]
    out, conf = given.out / name, "real_neuron" if name == "from_parent" else f"real_{name}"
    own = [f"training={conf}", f"data_root={given.data_root}", f"out={out}", f"{key}.iterations={iterations}"]
    more = [setting for setting in given.train if not setting.startswith(foreign)]
    if name == "from_parent":
        parent = given.out / "parent" / "training" / "learner.safetensors"
        more = [*(setting for setting in more if not setting.startswith("init=")), f"init={parent}"]
    run([*start, "-m", command, *own, *more])
    return out / "learner.safetensors"


def evaluate(name: str, learner: Path, given: argparse.Namespace, *more: str) -> None:
    """Run or continue the evaluations of a learner, one folder for each T."""
    online = "false" if given.no_online else "false,true"
    own = [f"learner={learner}", f"data_root={given.data_root}", f"out={given.out / 'eval' / name}"]
    own += [f"iters={','.join(map(str, given.steps))}", f"ona={online}"]
    run([sys.executable, "-m", "eosvos.eval", "experiment=table1", *own, *more, *given.eval])


def run(command: list[str]) -> None:
    print("$", " ".join(command), flush=True)
    status = subprocess.run(command, env={"OMP_NUM_THREADS": "1", **os.environ}).returncode
    if status:
        sys.exit(status)  # it has said why


def tabulate(out: Path) -> None:
    """OUT/table.csv, a line for each evaluation, and OUT/table.md, beside the paper's."""
    figures: dict[tuple[str, bool, int], dict[str, float]] = {}
    for name in ROWS:
        for table in sorted((out / "eval" / name).glob("*/global.csv")):  # written when all sequences are finished
            results = load(table.parent)
            figures[name, bool(results.fingerprint["ona"]), int(results.fingerprint["iters"])] = results.summary
    if not figures:
        return
    lines = [{"run": name, "online": ona, "T": t, **row} for (name, ona, t), row in sorted(figures.items())]
    write_text(out / "table.csv", to_csv(lines))
    write_text(out / "table.md", markdown(figures))
    print(markdown(figures), flush=True)


def markdown(figures: dict[tuple[str, bool, int], dict[str, float]]) -> str:
    """All figures, J&F (J, F), and what each part of the method gains at T=10 here and in the paper."""
    steps = sorted({t for _, _, t in figures})

    def cell(key: tuple[str, bool, int]) -> str:
        row = figures.get(key)
        return "" if row is None else f"{row['J&F-Mean']:.3f} ({row['J-Mean']:.3f}, {row['F-Mean']:.3f})"

    lines = ["| J&F (J, F) | " + " | ".join(f"T={t}" for t in steps) + " |", "|---" * (len(steps) + 1) + "|"]
    for name, text in ROWS.items():
        for ona in (False, True):
            if any(key[:2] == (name, ona) for key in figures):
                cells = " | ".join(cell((name, ona, t)) for t in steps)
                lines.append(f"| {text}{' + OnA' if ona else ''} | {cells} |")
    lines += ["", "| gain in J&F at T=10 | here | in the paper |", "|---|---|---|"]
    gains = {
        "meta-learning the initialization and a single rate": ("single", False, "parent", False, 30.8),
        "rates per neuron": ("neuron", False, "single", False, 2.8),
        "Lovász in place of cross-entropy (the paper: with group norm)": ("neuron", False, "cross_entropy", False, 2.2),
        "box propagation": ("neuron", False, "no_propagation", False, 0.5),
        "meta-learning that begins with ordinary training": ("from_parent", False, "parent", False, None),
        "online adaptation": ("neuron", True, "neuron", False, 1.3),
    }
    for text, (name, ona, other, other_ona, paper) in gains.items():
        pair = [figures.get(key, {}).get("J&F-Mean") for key in ((name, ona, 10), (other, other_ona, 10))]
        here = "" if None in pair else f"{100 * (pair[0] - pair[1]):+.1f}"
        there = "" if paper is None else f"{paper:+.1f}"
        lines.append(f"| {text} | {here} | {there} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
