"""The outer loop on a toy problem: it learns, resumes bit for bit, skips what is not finite, keeps the best."""

import json
import math
import os
import signal
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from eosvos.errors import UserError
from eosvos.meta import outer, stop_signals
from eosvos.meta.adapt import MetaGradient, meta_gradient
from eosvos.meta.distributed import World
from eosvos.meta.learner import Learner
from eosvos.meta.outer import Interrupted, OuterSettings, train

SETTINGS = OuterSettings(
    iterations=30, tasks=3, theta_lr=0.05, rates_lr=0.05, warmup=3, validate_every=10, save_every=5
)


def fresh(level="neuron"):
    torch.manual_seed(0)
    return Learner.create(nn.Linear(4, 3), 0.05, level)


def target(number):
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(number)) * 0.1 + 1.0


def loss_of(number, noise):
    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(1000 * number + noise))
    y = x @ target(number).T
    return lambda phi: ((x @ phi["weight"].T + phi["bias"] - y) ** 2).mean()


def gradient(learner, number):
    return meta_gradient(learner.theta, learner.rates, [loss_of(number, t) for t in range(3)], loss_of(number, 9))


def stream(start, world=None, tasks=SETTINGS.tasks):
    world = world or World()
    return (i * tasks + j for i in range(start, 1000) for j in range(world.rank, tasks, world.size))


def validate(learner):
    total = sum(gradient(learner, 10_000 + n).loss for n in range(4))
    return {"validation_loss": total / 4, "score": -total / 4}


def run(folder, learner=None, settings=SETTINGS, gradient=gradient, **more):
    more = {"fingerprint": {"toy": 1}, **more}
    return train(learner or fresh(), stream, gradient, validate, folder, settings, **more)


def same(a, b):
    tensors = [
        *zip(a.theta.values(), b.theta.values(), strict=True),
        *zip(a.rates.values(), b.rates.values(), strict=True),
    ]
    return all(torch.equal(x, y) for x, y in tensors)


def records(folder):
    lines = [json.loads(line) for line in (folder / outer.LOG).read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


@pytest.mark.parametrize("level", ["single", "neuron"])
def test_it_learns_to_adapt(tmp_path, level):
    learner = fresh(level)
    before = validate(learner)["validation_loss"]
    best = run(tmp_path, learner)
    assert validate(best)["validation_loss"] < 0.3 * before
    assert float(torch.cat([r.flatten() for r in best.rates.values()]).mean()) > 0.06
    assert best.spec["training"]["iteration"] > 0


@pytest.mark.parametrize("iteration", [14, 20, 30])
def test_a_stopped_run_resumes_bit_for_bit(tmp_path, iteration):
    """Where it was stopped in an iteration that ends with a validation, or in the last one, too."""
    whole = run(tmp_path / "whole")
    calls = []

    def stopping(learner, number):
        calls.append(number)
        if len(calls) == 3 * (iteration - 1) + 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return gradient(learner, number)

    with pytest.raises(Interrupted, match=f"iteration {iteration} of 30"):
        run(tmp_path / "cut", gradient=stopping)
    assert records(tmp_path / "cut")[-1]["iteration"] == iteration - (iteration % 10 == 0)
    again = run(tmp_path / "cut", resume=True)
    assert same(whole, again)
    for name in (outer.LAST, outer.BEST):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
    assert records(tmp_path / "whole") == records(tmp_path / "cut")


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_every_optimizer_learns_and_resumes_bit_for_bit(tmp_path, optimizer):
    settings = replace(SETTINGS, optimizer=optimizer, weight_decay=1e-3)
    before = validate(fresh())["validation_loss"]
    whole = run(tmp_path / "whole", settings=settings)
    assert validate(whole)["validation_loss"] < 0.5 * before

    def dying(learner, number):
        if number == 3 * 17:
            raise KeyboardInterrupt
        return gradient(learner, number)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", settings=settings, gradient=dying)
    assert same(whole, run(tmp_path / "cut", settings=settings, resume=True))
    assert not same(whole, run(tmp_path / "radam", settings=replace(SETTINGS, weight_decay=1e-3)))


@pytest.mark.parametrize("optimizer", outer.OPTIMIZERS)
def test_a_parameter_with_a_share_of_the_rate_moves_that_much_less_and_the_others_as_ever(tmp_path, optimizer):
    def fixed(learner, number):  # whatever theta is
        draws = torch.Generator().manual_seed(number)
        theta, rates = (
            {name: torch.randn(p.shape, generator=draws) for name, p in part.items()}
            for part in (learner.theta, learner.rates)
        )
        return MetaGradient(theta, rates, 1.0, [])

    def moved(shares):
        settings = replace(SETTINGS, optimizer=optimizer, shares=shares)
        name = "-".join(map(str, shares.values())) or "none"
        run(tmp_path / name, settings=settings, gradient=fixed)
        last, start = Learner.load(tmp_path / name / outer.LAST), fresh()
        return {key: p - start.theta[key] for key, p in last.theta.items()}, last.rates

    (ever, rates), (slow, same_rates), (still, _) = moved({}), moved({"wei": 0.25}), moved({"wei": 0.0})
    assert torch.equal(ever["bias"], slow["bias"]) and ever["bias"].abs().max() > 0.01
    assert all(torch.equal(rates[key], same_rates[key]) for key in rates)
    torch.testing.assert_close(slow["weight"], 0.25 * ever["weight"], rtol=1e-4, atol=1e-6)
    assert not still["weight"].any()


def test_sgd_is_the_papers_rule(tmp_path):
    """v <- 0.9 v + (g + decay theta), theta <- theta - lr v; without a clip not even a huge gradient is scaled."""
    huge = 1e4
    settings = OuterSettings(
        iterations=3,
        tasks=1,
        optimizer="sgd",
        theta_lr=1e-6,
        rates_lr=0,
        warmup=0,
        final=1.0,
        weight_decay=0.3,
        clip=None,
        validate_every=3,
    )

    def steep(learner, number):
        grown = {name: p.detach() * huge for name, p in learner.theta.items()}
        return MetaGradient(
            grown, {name: torch.zeros_like(r) for name, r in learner.rates.items()}, 0.0, [], finite=True
        )

    theta, v = fresh().theta["weight"].double(), 0.0
    run(tmp_path, settings=settings, gradient=steep)
    for _ in range(3):
        v = 0.9 * v + theta * huge + 0.3 * theta
        theta = theta - 1e-6 * v
    assert torch.allclose(Learner.load(tmp_path / outer.LAST).theta["weight"].double(), theta, rtol=1e-6)


@pytest.mark.parametrize("clock", outer.CLOCKS)
def test_a_budget_of_seconds_ends_the_training_and_sets_its_schedule(tmp_path, monkeypatch, clock):
    """The clock goes on where a resumed run was, and one that has run out leaves nothing to do."""
    ticks = iter(0.5 * k for k in range(1000))
    monkeypatch.setitem(outer.CLOCKS, clock, lambda: next(ticks))
    settings = replace(SETTINGS, iterations=1, seconds=10.0, clock=clock, warmup=2, save_every=5, validate_every=1000)

    def dying(learner, number):
        if number == 3 * 8:
            raise KeyboardInterrupt
        return gradient(learner, number)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, settings=settings, gradient=dying)
    run(tmp_path, settings=settings, resume=True)
    lines = [json.loads(line) for line in (tmp_path / outer.LOG).read_text().splitlines()]
    lines = [line for line in lines if "lr_factor" in line]
    assert [line["iteration"] for line in lines] == list(range(1, len(lines) + 1))
    assert all(a["seconds"] < b["seconds"] for a, b in zip(lines, lines[1:], strict=False))
    assert lines[-2]["seconds"] < 10 <= lines[-1]["seconds"] < 10.6
    assert [line["lr_factor"] for line in lines[:2]] == [0.5, 1.0]
    for line in lines[2:]:
        part = min(line["seconds"] / 10, 1)
        assert line["lr_factor"] == pytest.approx(0.05 + 0.95 * (1 + math.cos(math.pi * part)) / 2)
    before = (tmp_path / outer.LOG).read_text()
    run(tmp_path, settings=settings, resume=True)
    assert (tmp_path / outer.LOG).read_text() == before


def test_a_second_ctrl_c_counts_only_some_time_after_the_first(monkeypatch):
    """torchrun forwards the one that its processes had from the terminal: two come at once."""
    monkeypatch.setattr(stop_signals, "_SECOND", 0.2)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stop_signals.stop_requests() as stop:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert stop == [signal.SIGINT] * 2
        time.sleep(0.25)
        signal.raise_signal(signal.SIGTERM)
        assert stop[2:] == [signal.SIGTERM]
        signal.raise_signal(signal.SIGINT)
    assert len(stop) == 3 and signal.getsignal(signal.SIGINT) is before


def test_a_killed_run_resumes_bit_for_bit_from_its_last_checkpoint(tmp_path):
    whole = run(tmp_path / "whole")

    def dying(learner, number):
        if number == 3 * 17:
            raise KeyboardInterrupt("as if killed, between checkpoints")
        return gradient(learner, number)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", gradient=dying)
    assert records(tmp_path / "cut")[-1]["iteration"] == 17
    assert same(whole, run(tmp_path / "cut", resume=True))
    assert records(tmp_path / "whole") == records(tmp_path / "cut")


def test_resuming_a_complete_run_changes_nothing(tmp_path):
    first = run(tmp_path)
    log = (tmp_path / outer.LOG).read_text()
    assert same(first, run(tmp_path, resume=True)) and (tmp_path / outer.LOG).read_text() == log


def test_non_finite_tasks_are_skipped_counted_and_harmless(tmp_path):
    def sometimes(learner, number):
        bad = MetaGradient({}, {}, float("nan"), [], finite=False)
        return bad if number % 3 == 1 or number // 3 == 4 else gradient(learner, number)

    best = run(tmp_path, gradient=sometimes)
    assert all(bool(p.isfinite().all()) for p in best.theta.values())
    assert records(tmp_path)[-1]["skipped"] == 30 + 2


def test_one_exploding_task_cannot_ruin_the_learner(tmp_path):
    def exploding(learner, number):
        result = gradient(learner, number)
        if number == 40:
            result.theta = {k: g * 1e12 for k, g in result.theta.items()}
            result.rates = {k: g * 1e12 for k, g in result.rates.items()}
        return result

    calm, hit = run(tmp_path / "calm"), run(tmp_path / "hit", gradient=exploding)
    assert validate(hit)["validation_loss"] < 2 * validate(calm)["validation_loss"]


def test_rates_stay_within_bounds(tmp_path):
    settings = OuterSettings(
        iterations=20, tasks=2, theta_lr=0.0, rates_lr=0.3, warmup=1, max_rate=0.125, validate_every=20
    )
    run(tmp_path, settings=settings)
    rates = torch.cat([r.flatten() for r in Learner.load(tmp_path / outer.LAST).rates.values()])
    assert float(rates.min()) >= 0 and float(rates.max()) <= 0.125
    assert int((rates == 0).sum()) + int((rates == 0.125).sum()) > 0


def test_without_a_rate_of_their_own_the_learning_rates_stay_bit_for_bit(tmp_path):
    """The paper's second stage (4.2): only the initialization learns; not even the upper bound touches the rates."""
    learner = fresh()
    with torch.no_grad():
        learner.rates["bias"].fill_(2.0)  # above max_rate
    before = {name: rate.detach().clone() for name, rate in learner.rates.items()}
    theta = learner.theta["weight"].detach().clone()
    best = run(tmp_path, learner, replace(SETTINGS, rates_lr=0.0, iterations=10))
    last = Learner.load(tmp_path / outer.LAST)
    assert all(torch.equal(one.rates[name], rate) for one in (best, last) for name, rate in before.items())
    assert not torch.equal(last.theta["weight"], theta)


def test_the_best_by_validation_is_kept(tmp_path):
    scores = iter([0.1, 0.9, 0.3, 0.2])
    settings = OuterSettings(iterations=30, tasks=1, validate_every=10)
    kept = train(fresh(), stream, gradient, lambda learner: {"score": next(scores)}, tmp_path, settings, fingerprint={})
    assert kept.spec["training"] == {"iteration": 10, "score": 0.9}
    assert not same(kept, Learner.load(tmp_path / outer.LAST))


def test_a_folder_with_another_run_is_refused(tmp_path):
    run(tmp_path, settings=OuterSettings(iterations=2, tasks=1))
    with pytest.raises(UserError, match="resume=true"):
        run(tmp_path, settings=OuterSettings(iterations=2, tasks=1))
    with pytest.raises(UserError, match="other settings: toy was 1 and is now 2"):
        run(tmp_path, settings=OuterSettings(iterations=2, tasks=1), resume=True, fingerprint={"toy": 2})
    (tmp_path / outer.CHECKPOINT).write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(UserError, match="checkpoint.pt: cannot be read"):
        run(tmp_path, settings=OuterSettings(iterations=2, tasks=1), resume=True)


def test_a_checkpoint_with_code_in_it_is_not_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    torch.save({"x": Evil()}, tmp_path / outer.CHECKPOINT)
    with pytest.raises(UserError, match="cannot be read"):
        run(tmp_path, resume=True)
    assert not (tmp_path / "owned").exists()


def test_summed_over_processes_equals_one_process():
    """What two processes would reduce is what one computes, whichever tasks each has."""
    learner = fresh()
    results = [gradient(learner, n) for n in range(5)]

    class Other(World):
        def all_reduce(self, tensor):
            return tensor.add_(theirs)

    def flat(totals):
        return torch.cat([t.flatten() for t in (*totals["theta"], *totals["rates"])])

    one, _ = outer._reduce(results, learner, 10.0, World(), stop=False)
    caught = []

    class Catch(World):
        def all_reduce(self, tensor):
            caught.append(tensor.clone())
            return tensor

    outer._reduce(results[1::2], learner, 10.0, Catch(), stop=True)
    theirs = caught[0]
    two, stopping = outer._reduce(results[0::2], learner, 10.0, Other(), stop=False)
    assert stopping and one["count"] == two["count"] == 5
    assert float((flat(one) - flat(two)).abs().max()) <= 1e-12
    assert one["loss"] == pytest.approx(two["loss"], abs=1e-12)
