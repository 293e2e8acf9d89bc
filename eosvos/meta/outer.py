"""Meta-training (e-OSVOS, supplement, Algorithm 1): tasks -> meta-gradients -> RAdam -> clamp; validation and resuming.

Ordinary training is the same loop over gradients without inner steps. It ends after a number of iterations or seconds.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from eosvos.files import append_line
from eosvos.meta import checkpoint
from eosvos.meta.adapt import MetaGradient, Params, norm_of
from eosvos.meta.checkpoint import BEST, CHECKPOINT, LAST, LOG
from eosvos.meta.distributed import World
from eosvos.meta.learner import Learner, rate_statistics
from eosvos.meta.stop_signals import stop_requests
from eosvos.torch_state import own_state

Validate = Callable[[Learner], dict[str, float]]
OPTIMIZERS = ("radam", "sgd", "adam")
KEEP = ("best", "last")
CLOCKS = {"wall": time.monotonic, "processor": time.process_time}


@dataclass(frozen=True)
class OuterSettings:
    """Settings of the outer loop.

    Attributes:
        iterations: number of updates.
        seconds: if given, training ends after so many, those before a resume included, in place of `iterations`.
        clock: "wall", or "processor": computing time of process 0 without data workers, which other work on the machine
            changes little.
        tasks: number of gradients averaged for one update.
        optimizer: "radam", "adam" or "sgd" (momentum 0.9).
        theta_lr: the optimizer's rate for the initialization, after the warm-up; it falls along a cosine.
        rates_lr: the same for the learning rates; 0 keeps them as they are.
        warmup: iterations in which both rates rise linearly.
        final: share of the rates that is left at the end.
        beta2: of RAdam and Adam; RAdam's rectification holds the steps back for about 2 / (1 - beta2) iterations.
        weight_decay: on theta; decoupled, but added to the gradient with "sgd".
        clip: norm to which a task's gradient is scaled down, of theta and of the rates separately; None: never.
        shares: name prefix -> share of theta_lr for parameters whose names begin so.
        max_rate: upper bound of the learning rates; the lower is 0.
        validate_every, save_every: iterations between validations, and between checkpoints.
        keep: the learner of the training: "best" by validation, or "last", where there is nothing to validate on.
    """

    iterations: int = 600
    seconds: float | None = None
    clock: str = "wall"
    tasks: int = 4
    optimizer: str = "radam"
    theta_lr: float = 2e-4
    rates_lr: float = 1e-3
    warmup: int = 20
    final: float = 0.05
    beta2: float = 0.99
    weight_decay: float = 0.0
    clip: float | None = 10.0
    shares: dict[str, float] | None = None
    max_rate: float = 1.0
    validate_every: int = 100
    save_every: int = 100
    keep: str = "best"


class Interrupted(Exception):
    """Raised after SIGINT or SIGTERM, when the state has been saved."""


@dataclass
class _State:
    learner: Learner
    optimizer: torch.optim.Optimizer
    iteration: int = 0
    best: float = -math.inf
    skipped: int = 0
    seconds: float = 0.0  # of the first process's clock, the same in all
    due: dict[str, Any] | None = None  # the log record of an iteration that is still to be validated

    def done(self, settings: OuterSettings) -> bool:
        return self.iteration >= settings.iterations if settings.seconds is None else self.seconds >= settings.seconds


@own_state()
def train(
    learner: Learner,
    stream: Callable[[int], Iterable[Any]],
    gradient: Callable[[Learner, Any], MetaGradient],
    validate: Validate,
    folder: Path,
    settings: OuterSettings,
    *,
    fingerprint: dict[str, Any],
    environment: dict[str, Any] | None = None,
    world: World | None = None,
    resume: bool = False,
    other_code: bool = False,
    report: Callable[[dict[str, Any]], None] = lambda record: None,
    say: Callable[[str], None] = lambda text: None,
    terms: Sequence[str] = (),
) -> Learner:
    """Train a learner and keep the best one by validation, or the last one, in folder/learner.safetensors.

    Args:
        learner: the initial learner; its tensors are changed.
        stream: `stream(i)` iterates over this process's tasks from iteration i on, in order. Process r of n has the
            task indices r, r + n, ... of each iteration.
        gradient: `gradient(learner, task)` computes the (meta-)gradient of a task.
        validate: `validate(learner)` returns metrics; the highest "score" is the best.
        folder: the training's folder. Only process 0 reads and writes it.
        settings: settings of the outer loop.
        fingerprint: all that determines the outcome; a stored run with another one is not continued.
        environment: what determines its last bits (library versions, device), and under "code" the version of the code.
            Changes are reported and logged.
        world: the process group; None: this process alone.
        resume: whether to continue the run in `folder`.
        other_code: whether a resumed run may have been made by another version of the code.
        report: receives each log record.
        say: receives messages for a person.
        terms: names of the parts of the loss (`MetaGradient.terms`) to log.

    Returns:
        The learner that is kept.

    Raises:
        UserError: if `folder` holds a run and `resume` is false (restarts by torchrun excepted), or a run that is
            damaged or may not be continued.
        Interrupted: after SIGINT or SIGTERM, when the state has been saved.
    """
    world = world or World()
    fingerprint = {**fingerprint, "outer": asdict(settings)}
    environment = {**(environment or {}), "processes": world.size}
    checkpoint.check_agreement(world, fingerprint, environment)
    with checkpoint.open_run(folder, world, resume) as stored:
        state = _State(learner, _optimizer(learner, settings))
        changed: dict[str, list[Any]] = {}
        if stored is not None:
            changed = checkpoint.compare(stored, fingerprint, environment, folder, other_code=other_code)
            _restore(state, stored)
        if changed:
            changes = checkpoint.describe_changes(changed)
            say(f"{folder}: continued where {changes}; the result may differ in its last digits")
        files = _Files(folder, world, {"fingerprint": fingerprint, "environment": environment}, report)
        files.begin(state)
        if state.iteration == 0:
            _validate_and_keep(state, validate, files, settings)
        tasks = iter(()) if state.done(settings) else iter(stream(state.iteration))
        now = CLOCKS[settings.clock]
        started = now() - state.seconds
        if state.due is not None:
            _validate_and_keep(state, validate, files, settings)
        with stop_requests() as stop:
            while not state.done(settings):  # one pass is one step of eq. 2: Algorithm 1, lines 2 to 7
                results = [gradient(learner, next(tasks)) for _ in range(world.rank, settings.tasks, world.size)]
                clock = (now() - started) * world.is_main_process
                totals, stopping = _reduce(results, learner, settings.clip, world, bool(stop), terms, clock)
                state.seconds = totals["clock"]
                record = _update(state, totals, settings) | totals["terms"]
                state.iteration += 1
                record |= {"iteration": state.iteration, "seconds": round(state.seconds, 2), "skipped": state.skipped}
                if changed:
                    record["changed"], changed = changed, {}
                done = state.done(settings)
                if done or state.iteration % settings.validate_every == 0:
                    state.due = record | rate_statistics(learner)
                    if not stopping:
                        _validate_and_keep(state, validate, files, settings)
                else:
                    files.log(record)
                if stopping or done or state.iteration % settings.save_every == 0:
                    files.save(state)
                if stopping:
                    end = settings.seconds
                    whole = f" of {settings.iterations}" if end is None else f", {state.seconds:.0f} of {end:g} s"
                    raise Interrupted(f"stopped at iteration {state.iteration}{whole}, saved in {folder}")
        return world.broadcast(lambda: Learner.load(folder / BEST))


def _optimizer(learner: Learner, settings: OuterSettings) -> torch.optim.Optimizer:
    """Make the optimizer of the learner's tensors, which require gradients from here on."""
    theta: dict[float, list[torch.Tensor]] = {}  # by share of theta_lr
    for name, p in learner.theta.items():
        share = next((s for start, s in (settings.shares or {}).items() if name.startswith(start)), 1.0)
        theta.setdefault(share, []).append(p.requires_grad_())
    groups: list[Any] = [{"params": p, "weight_decay": settings.weight_decay, "share": s} for s, p in theta.items()]
    groups.append({"params": [r.requires_grad_() for r in learner.distinct_rates()]})
    common: dict[str, Any] = {"lr": settings.theta_lr, "weight_decay": 0.0}
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, **common)
    kind = {"radam": torch.optim.RAdam, "adam": torch.optim.Adam}[settings.optimizer]
    return kind(groups, betas=(0.9, settings.beta2), decoupled_weight_decay=True, **common)


def _restore(state: _State, stored: dict[str, Any]) -> None:
    with torch.no_grad():
        for name, p in state.learner.theta.items():
            p.copy_(stored["theta"][name])
        for name, r in state.learner.rates.items():
            r.copy_(stored["rates"][name])
    state.optimizer.load_state_dict(stored["optimizer"])
    state.iteration, state.best = stored["iteration"], stored["best"]
    state.skipped, state.seconds, state.due = stored["skipped"], stored["seconds"], stored.get("due")


def _reduce(
    results: list[MetaGradient],
    learner: Learner,
    clip: float | None,
    world: World,
    stop: bool,
    terms: Sequence[str] = (),
    clock: float = 0.0,
) -> tuple[dict[str, Any], bool]:
    """Sum gradients over the tasks of all processes; on a CPU in float64: their order leaves no trace in float32."""
    names, rates = list(learner.theta), learner.distinct_rates()
    slots = {id(r): index for index, r in enumerate(rates)}  # at level "single" all names share one
    device = learner.theta[names[0]].device
    sizes = [*(learner.theta[n].numel() for n in names), *(r.numel() for r in rates), len(terms), 5]
    parts = len(names) + len(rates)
    flat = torch.zeros(sum(sizes), dtype=torch.float64 if device.type == "cpu" else torch.float32, device=device)
    pieces = flat.split(sizes)
    for result in results:
        if not result.finite:
            flat[-4] += 1
            continue
        flat[-5] += 1
        flat[-3] += result.loss
        pieces[parts].add_(flat.new_tensor([result.terms.get(term, math.nan) for term in terms]))
        theta_scale, rate_scale = _scale(result.theta, clip), _scale(result.rates, clip)
        for piece, name in zip(pieces, names, strict=False):
            piece += (result.theta[name] * theta_scale).flatten()
        for name, g in result.rates.items():
            pieces[len(names) + slots[id(learner.rates[name])]].add_((g * rate_scale).flatten())
    flat[-2], flat[-1] = clock, float(stop)
    world.all_reduce(flat)
    count = float(flat[-5])
    return {
        "theta": [p / max(count, 1) for p in pieces[: len(names)]],
        "rates": [p / max(count, 1) for p in pieces[len(names) : parts]],
        "terms": {term: float(value) / max(count, 1) for term, value in zip(terms, pieces[parts], strict=True)},
        "count": count,
        "skipped": int(flat[-4]),
        "loss": float(flat[-3]) / count if count else math.nan,
        "clock": float(flat[-2]),
    }, bool(flat[-1] > 0)


def _scale(gradients: Params, clip: float | None) -> float:
    if clip is None or not gradients:
        return 1.0
    norm = float(norm_of(gradients))
    return clip / norm if norm > clip else 1.0


def _update(state: _State, totals: dict[str, Any], settings: OuterSettings) -> dict[str, float]:
    """Make one update and clamp the learning rates to [0, max_rate] (section 4.2); none without a valid task."""
    factor = _schedule(state.iteration, state.seconds, settings)
    *theta_groups, rates_group = state.optimizer.param_groups
    rates_group["lr"] = settings.rates_lr * factor
    for group in theta_groups:
        group["lr"] = settings.theta_lr * factor * group.get("share", 1.0)  # older checkpoints have none
    state.skipped += totals["skipped"]
    if totals["count"]:
        pairs = list(zip(state.learner.theta.values(), totals["theta"], strict=True))
        pairs += zip(rates_group["params"], totals["rates"], strict=True) if settings.rates_lr > 0 else ()
        for p, g in pairs:
            p.grad = g.to(p.dtype).view_as(p)
        # Algorithm 1, line 7: theta_g <- theta_g - beta * gradient, with the optimizer in place of plain descent.
        state.optimizer.step()  # passes over what has no gradient: with rates_lr=0 the rates stay bit by bit
        with torch.no_grad():
            for rate in rates_group["params"] if settings.rates_lr else ():
                rate.clamp_(0, settings.max_rate)
    return {"loss": totals["loss"], "lr_factor": factor}


def _schedule(iteration: int, seconds: float, settings: OuterSettings) -> float:
    if iteration < settings.warmup:
        return (iteration + 1) / settings.warmup
    progress = (iteration - settings.warmup) / max(settings.iterations - settings.warmup, 1)
    if settings.seconds is not None:
        progress = min(seconds / settings.seconds, 1.0)
    return settings.final + (1 - settings.final) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class _Files:
    """The files that process 0 writes into `folder`; if it cannot, all processes end.

    Killed at any moment, it leaves a whole checkpoint, and behind it only what is written again from there on.
    """

    folder: Path
    world: World
    stamp: dict[str, Any]  # of the run: part of every checkpoint
    report: Callable[[dict[str, Any]], None]

    def begin(self, state: _State) -> None:
        with self.world.barrier():
            if self.world.is_main_process:
                checkpoint.trim_log(self.folder, state.iteration - (state.iteration == 0 or state.due is not None))
        if state.iteration == 0:
            self.save(state)
        else:  # the process may have died between the checkpoint and this
            self._keep(state.learner, LAST)

    def save(self, state: _State) -> None:
        with self.world.barrier():
            if self.world.is_main_process:
                content = {
                    "theta": {k: p.detach() for k, p in state.learner.theta.items()},
                    "rates": {k: r.detach().clone() for k, r in state.learner.rates.items()},
                    "optimizer": state.optimizer.state_dict(),
                    **{key: getattr(state, key) for key in ("iteration", "best", "skipped", "seconds", "due")},
                }
                checkpoint.save(self.folder / CHECKPOINT, json.loads(json.dumps(self.stamp)) | content)
        self._keep(state.learner, LAST)

    def save_best(self, state: _State, metrics: dict[str, float]) -> None:
        training = {"training": {"iteration": state.iteration, **metrics}}
        self._keep(replace(state.learner, spec=state.learner.spec | training), BEST)

    def log(self, record: dict[str, Any]) -> None:
        if self.world.is_main_process:
            append_line(self.folder / LOG, json.dumps(record))
            self.report(record)

    def _keep(self, learner: Learner, name: str) -> None:
        with self.world.barrier():
            if self.world.is_main_process:
                learner.save(self.folder / name)


def _validate_and_keep(state: _State, validate: Validate, files: _Files, settings: OuterSettings) -> None:
    """Validate, log, and save the learner if it is to be kept."""
    metrics = validate(state.learner)
    record, state.due = {"iteration": state.iteration, **(state.due or rate_statistics(state.learner)), **metrics}, None
    if settings.keep == "last" or metrics["score"] > state.best:
        state.best = metrics["score"]
        files.save_best(state, metrics)
    files.log(record)
