"""e-OSVOS, OSVOS, OSMN and the floors, trained on the same taskset for the same time, tested on the same videos.

    python benchmarks/compare.py --seconds 1200 --data-root /data/DAVIS-2016
    python benchmarks/compare.py --seconds 120        # without data: tested on the synthetic test videos

Every method trains one after another in a process of its own, from random weights, at one picture size, on one thread.
Its budget is counted in seconds of the processor, which other work on the machine changes little, validation included;
the search of the best fine-tuning rate, which OSVOS and OSMN need and e-OSVOS does not, comes on top. Then
conf/experiment/compare.yaml is run, and the floors: quality and frames per second, fine-tuning included. OUT/table.md,
OUT/table.csv and OUT/plots/speed.png hold what came out. Stopped at any moment, the same command goes on.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from eosvos.evaluation.results import load, to_csv
from eosvos.files import write_text
from eosvos.meta.learner import Learner

TRAININGS = {"eosvos": ("meta_train", "meta"), "osvos": ("osvos_train", "parent"), "osmn": ("osmn_train", "outer")}
NAMES = {
    "copy_first": "first mask copied",
    "flow": "mask warped along optical flow",
    "eosvos": "e-OSVOS",
    "osvos": "OSVOS",
    "osmn": "OSMN",
}
FLOORS = ("copy_first", "flow")
VALIDATIONS = 2  # of a training, or about so many: they count as its time
PER_SECOND = {"eosvos": 0.6, "osvos": 2.5, "osmn": 3.0}  # iterations, roughly: only to space what is told in iterations
DRAWN = [
    ("copy_first", 0),
    ("flow", 0),
    ("eosvos", 10),
    ("eosvos", 50),
    ("osvos", 10),
    ("osvos", 50),
    ("osmn", 0),
    ("osmn", 50),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, required=True, help="of the processor, for the training of each")
    parser.add_argument("--data-root", help="holds DAVIS 2016; without it the synthetic test videos are the test")
    parser.add_argument("--out", type=Path, default=Path("runs/compare"))
    parser.add_argument("--only", nargs="+", choices=TRAININGS, default=list(TRAININGS))
    parser.add_argument("--size", type=int, nargs=2, default=[128, 224], metavar=("SHORT", "LONG"), help="of a picture")
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 10, 50], help="T")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", nargs="*", default=[], metavar="SETTING", help="of trainings, say search.tasks=8")
    parser.add_argument("--eval", nargs="*", default=[], metavar="SETTING", help="of evaluations, say sequences=[bear]")
    given = parser.parse_args()
    for method in given.only:
        train(method, given)
    for method in given.only:
        evaluate([method], given.steps, given, f"learner={given.out / method / 'learner.safetensors'}")
    evaluate(FLOORS, [0], given)
    draw(tabulate(given.out), given.out)
    return 0


def train(method: str, given: argparse.Namespace) -> None:
    """Run or continue a training."""
    command, section = TRAININGS[method]
    iterations = round(PER_SECOND[method] * given.seconds)
    own = [f"out={given.out / method}", f"seed={given.seed}", "device=cpu", "threads=1", "resume=true"]
    own += [f"model.short={given.size[0]}", f"model.long={given.size[1]}", f"{section}.seconds={given.seconds:g}"]
    own += [f"{section}.clock=processor", f"{section}.validate_every={max(iterations // VALIDATIONS, 1)}"]
    if method == "eosvos":
        own += [f"meta.mask_warm_up={iterations // 4}", "meta.validation_tasks=12", "meta.validation_steps=[10]"]
    if method == "osvos":
        own.append(f"parent.deep_supervision={iterations}")
    if method == "osmn":
        own.append("guidance.squares=[]")  # pictures of the same size as the others'
    sections = {section for _, section in TRAININGS.values()} - {section}
    more = [setting for setting in given.train if setting.partition(".")[0] not in sections]
    if method == "eosvos":
        more = [setting for setting in more if not setting.startswith("search.")]
    run([sys.executable, "-m", f"eosvos.{command}", *own, *more])


def evaluate(methods: Any, steps: list[int], given: argparse.Namespace, *learner: str) -> None:
    """Run or continue the evaluations of some methods, one folder for each and each T."""
    own = [f"method={','.join(methods)}", f"iters={','.join(map(str, steps))}", f"out={given.out / 'eval'}", *learner]
    data = ["dataset=synthetic", "split=test"] if given.data_root is None else [f"data_root={given.data_root}"]
    rest = ["processes=1", "device=cpu", f"seed={given.seed}"]
    run([sys.executable, "-m", "eosvos.eval", "experiment=compare", *own, *data, *rest, *given.eval])


def run(command: list[str]) -> None:
    print("$", " ".join(command), flush=True)
    status = subprocess.run(command, env={"OMP_NUM_THREADS": "1", **os.environ}).returncode
    if status:
        sys.exit(status)  # it has said why


def tabulate(out: Path) -> dict[tuple[str, int], Path]:
    """OUT/table.csv and OUT/table.md, a line for each evaluation; their folders, by method and T."""
    found: dict[tuple[str, int], Path] = {}
    for table in sorted((out / "eval").glob("*/global.csv")):  # written when all sequences are finished
        settings = load(table.parent).fingerprint
        found[settings["method"], int(settings.get("iters", 0))] = table.parent
    found = {key: found[key] for key in sorted(found, key=lambda key: (list(NAMES).index(key[0]), key[1]))}
    lines = [{"method": method, "T": t, **load(folder).summary} for (method, t), folder in found.items()]
    write_text(out / "table.csv", to_csv(lines))
    text = "| | T | J&F | J | F | frames a second | without fine-tuning | s a frame |\n" + "|---" * 8 + "|\n"
    for line in lines:
        quality = " | ".join(f"{line[key]:.3f}" for key in ("J&F-Mean", "J-Mean", "F-Mean"))
        speed = " | ".join(f"{line[key]:.1f}" for key in ("fps", "fps-without-fine-tuning"))
        steps = "" if line["method"] in FLOORS else line["T"]
        text += f"| {NAMES[line['method']]} | {steps} | {quality} | {speed} | {line['s-per-frame']:.3f} |\n"
    text += trained(out)
    write_text(out / "table.md", text)
    print(text, flush=True)
    return found


def trained(out: Path) -> str:
    """What each training came to, as a table."""
    lines = ["", "| | parameters | updates to the best in validation | its figures |", "|---|---|---|---|"]
    for method in TRAININGS:
        path = out / method / "learner.safetensors"
        if path.exists():
            learner = Learner.load(path)
            told = dict(learner.spec["training"])
            count, number = sum(p.numel() for p in learner.theta.values()), told.pop("iteration")
            figures = ", ".join(f"{key} {value:.3f}" for key, value in told.items() if key.startswith("J"))
            lines.append(f"| {NAMES[method]} | {count:,} | {number} | {figures} |")
    return "\n".join(lines) + "\n"


def draw(found: dict[tuple[str, int], Path], out: Path) -> None:
    """Quality against speed, as Figure 1 of e-OSVOS."""
    drawn = [key for key in DRAWN if key in found]
    if not drawn:
        return
    labels = [NAMES[method] + ("" if method in FLOORS else f" T={t}") for method, t in drawn]
    runs, names = ",".join(f"'{found[key]}'" for key in drawn), ",".join(f"'{label}'" for label in labels)
    run(
        [
            sys.executable,
            "-m",
            "eosvos.plot",
            f"runs=[{runs}]",
            f"labels=[{names}]",
            f"out={out / 'plots'}",
            "pictures=[speed,bars,over_time]",
            "published=none",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
