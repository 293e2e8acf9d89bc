"""Boxes that a network detected: stored with a run, drawn where they were."""

import numpy as np
import pytest
import torch
from made_runs import result

from eosvos import plot
from eosvos.evaluation.metrics.sequence_scores import SequenceResult
from eosvos.meta.learner import Learner
from eosvos.methods.eosvos.method import EOSVOS
from eosvos.models import mask_rcnn
from eosvos.plots import boxes

SMALL = {"size": "tiny", "widths": (8, 8, 16, 16), "fpn": 16, "hidden": 16, "groups": 4, "short": 64, "long": 112}


def test_boxes_are_of_the_frame_and_kept_in_the_results():
    torch.manual_seed(0)
    model = mask_rcnn.build(**SMALL)
    method = EOSVOS(Learner.create(model, 0.01, spec={"model": SMALL}), iters=0, score=0.0)
    frame = torch.rand(3, 128, 224)  # twice the network's size
    mask = np.zeros((128, 224), bool)
    mask[90:120, 150:210] = True
    method.start(frame, {7: mask})
    assert method.boxes == {}
    method.step(frame)
    x0, y0, x1, y1 = method.boxes[7]
    assert 0 <= x0 < x1 <= 224 and 0 <= y0 < y1 <= 128 and max(x1, y1) > 112  # pixels of the frame
    rows, columns = np.nonzero(method.probabilities[0].numpy())
    assert x0 - 3 <= columns.min() and columns.max() <= x1 + 3 and y0 - 3 <= rows.min() and rows.max() <= y1 + 3
    one = result("a", {7: [0.5, 0.5]}, boxes={7: [None, [1.5, 2.0, 3.0, 4.0]]})
    assert SequenceResult.from_json(one.to_json()) == one


def test_a_box_is_drawn_at_its_place_and_in_the_colour_of_its_object():
    image = np.full((50, 80, 3), 255, np.uint8)
    boxes.draw_box(image, [20, 10, 100, 60], 0.5, 1)
    assert image[20, 10].tolist() == [255, 0, 0] and image[5, 30].tolist() == [255, 0, 0]  # left and upper side
    assert image[29, 49].tolist() == [255, 0, 0] and (image[12:24, 14:45] == 255).all() and (image[34:] == 255).all()


def test_a_run_without_boxes_is_refused(tmp_path, capsys):
    from eosvos.data.synthetic.videos import held_out
    from eosvos.evaluation import benchmark
    from eosvos.methods.baselines import CopyFirst

    videos = held_out("test", count=1, size=(48, 64), length=4)
    dataset = {"name": "synthetic", "kind": "synthetic", "count": 1, "length": 4, "size": [48, 64]}
    settings = {"dataset": dataset, "split": "test", "data_root": None, "sequences": []}
    benchmark.run(lambda seed: CopyFirst(), videos, tmp_path / "plain", fingerprint=settings, progress=False)

    class Boxed(CopyFirst):
        boxes: dict = {}

        def step(self, frame):
            self.boxes = {1: [4.0, 5.0, 30.04, 40.0]}
            return super().step(frame)

    results = benchmark.run(lambda seed: Boxed(), videos, tmp_path / "boxed", fingerprint=settings, progress=False)
    assert results.sequences[0].boxes[1] == [None, *[[4.0, 5.0, 30.0, 40.0]] * 3]
    assert plot.main([f"runs=[{tmp_path}/boxed]", "pictures=[boxes]", f"out={tmp_path}/p"]) == 0
    assert (tmp_path / "p/boxes.png").stat().st_size > 1000
    assert plot.main([f"runs=[{tmp_path}/plain]", "pictures=[boxes]", f"out={tmp_path}/q"]) == 2
    assert "no detected boxes are stored" in capsys.readouterr().err and not (tmp_path / "q").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["tables=true", "pictures=[steps]"], "no two of these runs differ in iters="),
        (["pictures=[errors]"], "measures=[errors]"),
        (["format=jpg"], "format=jpg: expected one of png, pdf, svg"),
    ],
)
def test_pictures_that_cannot_be_are_refused_before_any_is_drawn(tmp_path, capsys, overrides, message):
    from eosvos.evaluation import run_folder

    run_folder.claim(tmp_path / "run", {"method": "eosvos", "iters": 3}, sequences=["a"])
    from eosvos.evaluation.metrics.region_contour import ScoringRules

    scored = result("a", {1: [0.5]}, proof={"rules": ScoringRules().as_json()})
    run_folder.write_sequence(tmp_path / "run", scored)
    assert plot.main([f"runs=[{tmp_path}/run]", f"out={tmp_path}/p", *overrides]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "p").exists()
