"""Plots over T, against time and of errors: what is drawn equals the scores; what cannot be drawn is refused."""

import math

import numpy as np
import pytest
from made_runs import result, run

from eosvos.errors import UserError
from eosvos.plots import errors, published, steps


def at(steps_done, j, method="eosvos", **more):
    seconds = {"seconds": 2.0 + steps_done, "tuning": float(steps_done)}
    return run(f"{method} {steps_done}", [result("a", {1: [j, j]}, **seconds)], iters=steps_done, method=method, **more)


def test_curves_join_runs_that_differ_in_the_steps_alone(tmp_path, drawn):
    runs = [at(50, 0.8), at(10, 0.3, "osvos"), at(0, 0.4), at(1, 0.5), at(100, 0.6, "osvos")]
    curves = steps.curves(runs)
    assert [(c.label, c.steps) for c in curves] == [("eosvos", [0, 1, 50]), ("osvos", [10, 100])]
    steps.draw_steps(runs, tmp_path / "steps.png", measure="JF")
    left, right = drawn[-1].axes
    assert left.lines[0].get_xdata().tolist() == [0, 1, 50]
    assert left.lines[0].get_ydata() == pytest.approx([0.75 * j for j in (0.4, 0.5, 0.8)])
    assert right.lines[0].get_ydata() == pytest.approx([10 / 2, 10 / 3, 10 / 52])  # frames / second
    assert right.lines[1].get_ydata() == pytest.approx([10 / 12, 10 / 102])
    behind = [p for p in published.published() if p.dataset == "davis16"]
    steps.draw_time(runs, behind, tmp_path / "time.png")
    axis = drawn[-1].axes[0]
    curve = next(line for line in axis.lines if line.get_label() == "eosvos")
    assert curve.get_xdata() == pytest.approx([0.2, 0.3, 5.2]) and curve.get_ydata() == pytest.approx([0.4, 0.5, 0.8])
    places = [tuple(points.get_offsets()[0]) for points in axis.collections]
    assert (pytest.approx(0.2), pytest.approx(0.8)) in places  # 10 frames in 2 s, had it known the object
    bvs = next(p for p in behind if p.method == "BVS")
    assert (1 / bvs.fps, bvs.quality["J"]) in places


def test_runs_that_make_no_curve_are_refused():
    for runs, message in (
        ([at(1, 0.5), at(2, 0.5, "osvos")], "no two of these runs differ in iters= alone"),
        ([at(1, 0.5), at(1, 0.6)], "have the same iters=[1, 1]"),
        ([at(1, 0.5), run("x", [result("a", {1: [0.5]})])], "does not tell its number of fine-tuning steps"),
        ([at(n, 0.5, f"m{k}") for k in range(9) for n in (1, 2)], "make 9 curves over iters=; expected at most 8"),
    ):
        with pytest.raises(UserError) as caught:
            steps.curves(runs)
        assert message in str(caught.value)
    assert len(steps.curves([at(n, 0.5) for n in range(20)])[0].runs) == 20
    assert "different versions" in steps.code_note([at(1, 0.5, code_hash="a"), at(2, 0.5, code_hash="b")])[0]


def counted(label, near, far, missed, scored=True):
    extra = {"near": {1: near}, "far": {1: far}, "missed": {1: missed}} if scored else {}
    return run(label, [result("a", {1: [0.5] * len(near)}, extra_metrics=extra)])


def test_errors_are_relative_to_all_of_the_first_run(tmp_path, drawn):
    first = counted("first", [10, 20, math.nan], [0, 10, math.nan], [40, 20, math.nan])
    second = counted("second", [5, 5, math.nan], [5, 0, math.nan], [30, 5, math.nan])
    shares = np.array(errors.relative_errors([first, second]))
    assert shares == pytest.approx(np.array([[30, 10, 60], [10, 5, 35]]) / 100)
    errors.draw_errors([first, second], tmp_path / "errors.svg")
    heights = [[bar.get_height() for bar in bars] for bars in drawn[-1].axes[0].containers]
    assert np.array(heights) == pytest.approx(shares)
    text = (tmp_path / "errors.svg").read_text()
    assert text.startswith("<?xml") and "Date" not in text
    errors.draw_errors([first, second], tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text() == text  # the same plot is the same file
    for others, message in (
        ([counted("uncounted", [1, 1, 1], [1, 1, 1], [1, 1, 1], scored=False)], "with measures=[errors]"),
        ([counted("shorter", [1], [1], [1])], "not over the same frames of the same objects as"),
    ):
        with pytest.raises(UserError) as caught:
            errors.relative_errors([first, *others])
        assert message in str(caught.value)
    with pytest.raises(UserError, match="has no wrong pixel"):
        errors.relative_errors([counted("perfect", [0], [0], [0])])
