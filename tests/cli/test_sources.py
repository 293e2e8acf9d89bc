"""From the sections `dataset` and `taskset` to sequences and tasks, and trainings on them from end to end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from PIL import Image

from eosvos import meta_train, parent_train
from eosvos.cli import build_data, hydra_app, mixture
from eosvos.data.masks import write_mask
from eosvos.data.mixed_tasks import MixedTaskset
from eosvos.data.video.write import write_video
from eosvos.errors import UserError
from eosvos.meta.learner import Learner
from eosvos.models.mask_rcnn import build

SMALL = ["model.short=64", "model.long=112", "device=cpu", "workers=0"]
META = [
    *SMALL,
    *"meta.iterations=2 meta.tasks=2 meta.steps=1 meta.validation_tasks=1 meta.batch=1".split(),
    *"meta.validation_steps=[1] meta.mask_warm_up=1".split(),
]
PARENT = [
    *SMALL,
    *"parent.iterations=1 parent.tasks=2 parent.validation_pictures=1 search.rates=[1e-2]".split(),
    *"search.steps=1 search.tasks=1 search.mask_losses=[lovasz]".split(),
]


def compose(name: str, *overrides: str):
    hydra_app.register()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(hydra_app.config_dir())):
        return OmegaConf.to_object(hydra.compose(name, overrides=list(overrides)))


@pytest.fixture
def mine(tmp_path) -> str:
    """A mixture of stills, with its data beside it."""
    for k in range(4):
        mask = np.zeros((64, 112), np.uint8)
        mask[10:40, 10:50], mask[20:50, 60:100] = 1, 2
        (tmp_path / "stills/images").mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(k).integers(0, 256, (64, 112, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"stills/images/{k}.png")
        write_mask(tmp_path / f"stills/masks/{k}.png", mask)
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"sources": [{"kind": "stills", "root": "stills", "held_out": 1}]}))
    return str(file)


def test_a_shipped_mixture_is_chosen_by_its_name():
    section = compose("meta_train", "taskset=youtube-vos+davis17").taskset
    assert (section.kind, section.file) == ("mixture", "youtube-vos+davis17")
    assert build_data.fingerprint(section)["mixture"]["balance"] == "objects"
    assert compose("meta_train", "training=paper_joint").taskset.file == "youtube-vos+davis17"


def test_settings_that_a_mixture_has_in_its_file_are_not_ignored(mine):
    section = compose("meta_train", "taskset=mixture", f"taskset.file={mine}", "taskset.min_area=0.1").taskset
    with pytest.raises(UserError, match="taskset.min_area: a mixture has this setting in its file"):
        build_data.tasksets(section, None, build("tiny"))
    with pytest.raises(UserError, match="taskset.file=null"):
        build_data.tasksets(compose("meta_train", "taskset=mixture").taskset, None, build("tiny"))


def test_an_unknown_name_gets_the_list_and_the_way_to_a_file_of_one_s_own(capsys):
    assert meta_train.main(["taskset=my/own.yaml"]) == hydra_app.MISTAKE
    said = capsys.readouterr().err
    assert "real-small" in said and "synthetic" in said and "taskset=mixture taskset.file=my/own" in said
    assert meta_train.main(["taskset=real-smal"]) == hydra_app.MISTAKE
    assert capsys.readouterr().err.endswith("; real-small?\n")


def test_the_file_decides_the_fingerprint_not_its_place(mine):
    section = compose("meta_train", "taskset=mixture", f"taskset.file={mine}").taskset
    before = build_data.fingerprint(section)
    moved = Path(mine).rename(Path(mine).parent / "moved.yaml")
    section = replace(section, file=str(moved))
    assert build_data.fingerprint(section) == before
    moved.write_text(moved.read_text() + "seed: 1\n")
    assert build_data.fingerprint(section) != before
    assert "file" not in build_data.fingerprint(compose("meta_train").taskset)


def test_the_test_of_the_real_mixtures_is_what_they_leave_out():
    dataset = compose("eval", "dataset=real-small-test")
    for name in ("real-small", "synthetic+real"):
        davis = next(source for source in mixture.read(name).sources if source.kind == "davis")
        assert davis.test == dataset.sequences and len(davis.test) == 6


def test_a_single_source_is_drawn_from_as_it_is():
    tasks, unseen = build_data.tasksets(compose("meta_train").taskset, None, build("tiny"))
    assert not isinstance(tasks, MixedTaskset) and not isinstance(unseen, MixedTaskset)


def test_two_stages_on_a_mixture(mine, tmp_path, monkeypatch):
    """The second, with rates_lr=0, keeps the learning rates of the first bit by bit and changes the initialization."""
    monkeypatch.chdir(tmp_path)
    data = ["taskset=mixture", f"taskset.file={mine}", f"data_root={tmp_path}"]
    assert meta_train.main([*META, *data, "out=one"]) == 0
    init = ["init=one/last.safetensors", "meta.rate=null", "meta.rates_lr=0", "meta.max_rate=1e-3"]
    assert meta_train.main([*META, *data, *init, "out=two"]) == 0
    one, two = (Learner.load(f"{folder}/last.safetensors") for folder in ("one", "two"))
    assert all(torch.equal(one.rates[name], rate) for name, rate in two.rates.items())
    assert any(not torch.equal(one.theta[name], p) for name, p in two.theta.items())
    assert len({float(rate.max()) for rate in one.rates.values()}) > 5  # they had learned before
    assert parent_train.main([*PARENT, *data, "out=parent"]) == 0  # all objects of a still as instances
    (Path(mine).parent / "mine.yaml").write_text(Path(mine).read_text() + "seed: 3\n")
    assert meta_train.main([*META, *data, "out=one", "resume=true"]) == hydra_app.MISTAKE


def test_a_video_file_is_a_data_set_of_one_sequence(tmp_path):
    pytest.importorskip("av")
    write_video(tmp_path / "clip.mp4", [np.zeros((64, 112, 3), np.uint8)] * 3)
    mask = np.zeros((64, 112), np.uint8)
    mask[10:40, 10:50] = 2
    write_mask(tmp_path / "first.png", mask)
    section = compose("eval", "dataset=video", f"dataset.masks={tmp_path / 'first.png'}").dataset
    (video,) = build_data.open_dataset(section, str(tmp_path / "clip.mp4"), None, [])
    assert (video.name, len(video), video.first_frame) == ("clip", 3, {2: 0})
    with pytest.raises(UserError, match="sequences=.dog.: no such sequence"):
        build_data.open_dataset(section, str(tmp_path / "clip.mp4"), None, ["dog"])
    with pytest.raises(UserError, match="dataset.masks=null: what to follow is not known"):
        build_data.open_dataset(replace(section, masks=None), str(tmp_path / "clip.mp4"), None, [])
    with pytest.raises(UserError, match="split=val: video has no splits"):
        build_data.open_dataset(section, str(tmp_path / "clip.mp4"), "val", [])
