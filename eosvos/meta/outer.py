"""Meta-training (e-OSVOS, supplement, algorithm 1): tasks -> meta-gradients -> RAdam -> clamp; validation and resume.

Ordinary training is the same loop over a gradient that has no inner steps.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eosvos.errors import UserError
from eosvos.files import write_text
from eosvos.meta import checkpoint
from eosvos.meta.adapt import MetaGradient
from eosvos.meta.distributed import World
from eosvos.meta.learner import Learner, rate_statistics

CHECKPOINT, BEST, LAST, LOG = "checkpoint.pt", "learner.safetensors", "last.safetensors", "log.jsonl"
Validate = Callable[[Learner], dict[str, float]]
_SECOND = 1.0  # seconds between two Ctrl-C of a person, at least


@dataclass(frozen=True)
class OuterSettings:
    """iterations: updates. tasks: gradients averaged for one update. theta_lr, rates_lr: RAdam's rates for the
    initialization and for the learning rates, after `warmup` iterations of linear rise and along a cosine down to
    `final` times their value; rates_lr = 0 leaves the learning rates as they are. beta2: of RAdam; its rectification
    holds the steps back for about 2 / (1 - beta2) iterations. weight_decay: decoupled, on theta. clip: norm to which
    the gradient of a single task is scaled down, for theta and the rates apart. max_rate: upper bound of the learning
    rates (0 is the lower). validate_every, save_every: iterations.
    """

    iterations: int = 600
    tasks: int = 4
    theta_lr: float = 2e-4
    rates_lr: float = 1e-3
    warmup: int = 20
    final: float = 0.05
    beta2: float = 0.99
    weight_decay: float = 0.0
    clip: float = 10.0
    max_rate: float = 1.0
    validate_every: int = 100
    save_every: int = 100


class Interrupted(Exception):
    """Ctrl-C or SIGTERM came; the state is saved."""


@dataclass
class _State:
    learner: Learner
    optimizer: torch.optim.Optimizer
    iteration: int = 0
    best: float = -math.inf
    skipped: int = 0
    seconds: float = 0.0


def train(
    learner: Learner,
    stream: Callable[[int], Iterable[Any]],
    gradient: Callable[[Learner, Any], MetaGradient],
    validate: Validate,
    folder: Path,
    settings: OuterSettings,
    *,
    fingerprint: dict[str, Any],
    world: World | None = None,
    resume: bool = False,
    report: Callable[[dict[str, float]], None] = lambda record: None,
    terms: Sequence[str] = (),
) -> Learner:
    """Train `learner`; returns the best one by validation, which also stands in folder/learner.safetensors.

    stream(i): this process's tasks from iteration i on, in order; process r of n has the task indices r, r+n, ... of
    each iteration. gradient(learner, task): its (meta-)gradient. validate(learner): figures, of which "score" decides
    what is best. report: gets each log record. terms: names of the parts of the loss (`MetaGradient.terms`) to log.

    Raises UserError where `folder` holds a run and `resume` is false, or a run of other settings; Interrupted after
    SIGINT or SIGTERM, when the state has been saved.
    """
    world = world or World()
    fingerprint = {**fingerprint, "outer": asdict(settings)}
    state = _prepare(learner, folder, settings, fingerprint, resume)
    learner = state.learner
    world.barrier()  # all have looked at the folder before the first writes to it
    if world.first:
        _trim_log(folder, state.iteration)
    if state.iteration == 0:
        _save(state, folder, fingerprint, world)
        _validate_and_keep(state, validate, folder, world, report)
    tasks = iter(stream(state.iteration)) if state.iteration < settings.iterations else iter(())
    mine = len(range(world.rank, settings.tasks, world.size))
    started = time.monotonic() - state.seconds
    with _stop_requests() as stop:
        while state.iteration < settings.iterations:
            results = [gradient(learner, next(tasks)) for _ in range(mine)]
            totals, stopping = _reduce(results, learner, settings.clip, world, bool(stop), terms)
            record = _update(state, totals, settings) | totals["terms"]
            state.iteration += 1
            state.seconds = time.monotonic() - started
            record |= {"iteration": state.iteration, "seconds": round(state.seconds, 2), "skipped": state.skipped}
            done = state.iteration == settings.iterations
            if not stopping and (done or state.iteration % settings.validate_every == 0):
                record |= rate_statistics(learner)
                _validate_and_keep(state, validate, folder, world, report, record)
            elif world.first:
                _log(folder, record)
                report(record)
            if stopping or done or state.iteration % settings.save_every == 0:
                _save(state, folder, fingerprint, world)
            if stopping:
                raise Interrupted(f"stopped at iteration {state.iteration} of {settings.iterations}, saved in {folder}")
    world.barrier()
    return Learner.load(folder / BEST)


def _prepare(
    learner: Learner, folder: Path, settings: OuterSettings, fingerprint: dict[str, Any], resume: bool
) -> _State:
    """A fresh state, or the stored one."""
    theta = [p.requires_grad_() for p in learner.theta.values()]
    rates = [r.requires_grad_() for r in learner.distinct_rates()]
    groups: list[dict[str, Any]] = [{"params": theta, "weight_decay": settings.weight_decay}, {"params": rates}]
    optimizer = torch.optim.RAdam(
        groups, lr=settings.theta_lr, betas=(0.9, settings.beta2), decoupled_weight_decay=True
    )  # fmt: skip
    state = _State(learner, optimizer)
    path = folder / CHECKPOINT
    if not path.exists():
        if folder.exists() and any(folder.glob("*.safetensors")):
            raise UserError(f"out folder {folder} holds a learner but no {CHECKPOINT}; choose another folder with out=")
        return state
    if not resume:
        raise UserError(
            f"out folder {folder} holds a training run; continue it with resume=true or choose another with out="
        )
    stored = checkpoint.load(path)
    differing = sorted(
        key for key in stored["fingerprint"].keys() | fingerprint.keys()
        if stored["fingerprint"].get(key) != json.loads(json.dumps(fingerprint)).get(key)
    )  # fmt: skip
    if differing:
        key = differing[0]
        raise UserError(
            f"out folder {folder} holds a run with other settings: {key} was {stored['fingerprint'].get(key)} and is "
            f"now {fingerprint.get(key)}; resume with the old settings or choose another folder with out="
        )
    with torch.no_grad():
        for name, p in learner.theta.items():
            p.copy_(stored["theta"][name])
        for name, r in learner.rates.items():
            r.copy_(stored["rates"][name])
    optimizer.load_state_dict(stored["optimizer"])
    state.iteration, state.best = stored["iteration"], stored["best"]
    state.skipped, state.seconds = stored["skipped"], stored["seconds"]
    return state


def _reduce(
    results: list[MetaGradient], learner: Learner, clip: float, world: World, stop: bool, terms: Sequence[str] = ()
) -> tuple[dict[str, Any], bool]:
    """Sums over the tasks of all processes; on a CPU in float64, so that their order leaves no trace in float32."""
    names = list(learner.theta)
    rates = learner.distinct_rates()
    slots = {id(r): index for index, r in enumerate(rates)}  # at level "single" all names share one
    device = learner.theta[names[0]].device
    sizes = [learner.theta[n].numel() for n in names] + [r.numel() for r in rates]
    parts, counts = len(names) + len(rates), 4
    sizes += [len(terms), counts]
    flat = torch.zeros(sum(sizes), dtype=torch.float64 if device.type == "cpu" else torch.float32, device=device)
    pieces = flat.split(sizes)
    for result in results:
        if not result.finite:
            flat[-3] += 1
            continue
        flat[-4] += 1
        flat[-2] += result.loss
        pieces[parts].add_(flat.new_tensor([result.terms.get(term, math.nan) for term in terms]))
        theta_scale = _scale(result.theta.values(), clip)
        rate_scale = _scale(result.rates.values(), clip)
        for piece, name in zip(pieces, names, strict=False):
            piece += (result.theta[name] * theta_scale).flatten()
        for name, g in result.rates.items():
            pieces[len(names) + slots[id(learner.rates[name])]].add_((g * rate_scale).flatten())
    flat[-1] = float(stop)
    world.sum_(flat)
    count = float(flat[-4])
    totals = {
        "theta": [p / max(count, 1) for p in pieces[: len(names)]],
        "rates": [p / max(count, 1) for p in pieces[len(names) : parts]],
        "terms": {term: float(value) / max(count, 1) for term, value in zip(terms, pieces[parts], strict=True)},
        "count": count,
        "skipped": int(flat[-3]),
        "loss": float(flat[-2]) / count if count else math.nan,
    }
    return totals, bool(flat[-1] > 0)


def _scale(gradients: Iterable[Tensor], clip: float) -> float:
    norms = [g.norm() for g in gradients]
    norm = float(torch.stack(norms).norm()) if norms else 0.0
    return clip / norm if norm > clip else 1.0


def _update(state: _State, totals: dict[str, Any], settings: OuterSettings) -> dict[str, float]:
    """One RAdam step, then learning rates clamped to [0, max_rate] (section 3.2.2). No step without a valid task."""
    factor = _schedule(state.iteration, settings)
    theta_group, rates_group = state.optimizer.param_groups
    theta_group["lr"], rates_group["lr"] = settings.theta_lr * factor, settings.rates_lr * factor
    state.skipped += totals["skipped"]
    if totals["count"]:
        groups = [(theta_group, totals["theta"])] + [(rates_group, totals["rates"])] * (settings.rates_lr > 0)
        for group, sums in groups:
            for p, g in zip(group["params"], sums, strict=True):
                p.grad = g.to(p.dtype).view_as(p)
        state.optimizer.step()  # passes over what has no gradient: with rates_lr=0 the rates stay bit by bit
        with torch.no_grad():
            for rate in rates_group["params"] if settings.rates_lr else ():
                rate.clamp_(0, settings.max_rate)
    return {"loss": totals["loss"], "lr_factor": factor}


def _schedule(iteration: int, settings: OuterSettings) -> float:
    if iteration < settings.warmup:
        return (iteration + 1) / settings.warmup
    progress = (iteration - settings.warmup) / max(settings.iterations - settings.warmup, 1)
    return settings.final + (1 - settings.final) * 0.5 * (1 + math.cos(math.pi * progress))


def _validate_and_keep(
    state: _State, validate: Validate, folder: Path, world: World, report: Callable[[dict[str, float]], None],
    record: dict[str, float] | None = None,
) -> None:  # fmt: skip
    """Validate, log, and write the learner where it is the best so far."""
    figures = validate(state.learner)
    record = {"iteration": state.iteration, **(record or rate_statistics(state.learner)), **figures}
    better = figures["score"] > state.best
    state.best = max(state.best, figures["score"])
    if world.first:
        if better:
            state.learner.spec["training"] = {"iteration": state.iteration, **figures}
            state.learner.save(folder / BEST)
        _log(folder, record)
        report(record)


def _trim_log(folder: Path, iteration: int) -> None:
    """Drop the lines written after the last checkpoint: they will be written again."""
    path = folder / LOG
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() and iteration else []
    kept = [line for line in lines if line.endswith("}") and json.loads(line)["iteration"] <= iteration]
    write_text(path, "".join(line + "\n" for line in kept))


def _save(state: _State, folder: Path, fingerprint: dict[str, Any], world: World) -> None:
    if not world.first:
        return
    learner = state.learner
    learner.save(folder / LAST)
    checkpoint.save(
        folder / CHECKPOINT,
        {
            "fingerprint": json.loads(json.dumps(fingerprint)),
            "theta": {k: p.detach() for k, p in learner.theta.items()},
            "rates": {k: r.detach().clone() for k, r in learner.rates.items()},
            "optimizer": state.optimizer.state_dict(),
            "iteration": state.iteration,
            "best": state.best,
            "skipped": state.skipped,
            "seconds": state.seconds,
        },
    )


def _log(folder: Path, record: dict[str, float]) -> None:
    with (folder / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


@contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """A list that gets the numbers of SIGINT and SIGTERM; a second Ctrl-C, `_SECOND` s later or more, interrupts."""
    seen: list[int] = []
    first = math.inf

    def note(number: int, frame: Any) -> None:
        nonlocal first
        first = min(first, time.monotonic())
        # Sooner it is no second Ctrl-C: torchrun forwards the one that its processes had from the terminal already.
        if number == signal.SIGINT and time.monotonic() - first >= _SECOND:
            raise KeyboardInterrupt
        seen.append(number)

    try:
        before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: signals stay with the host application
        yield seen
        return
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
