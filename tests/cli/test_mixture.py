"""tasksets/*.yaml: what is drawn how often, what is held out, and what is said about a wrong file."""

from __future__ import annotations

import inspect
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from torch.utils.data import DataLoader

from eosvos.cli import mixture
from eosvos.data.masks import write_mask
from eosvos.data.task_stream import TaskStream
from eosvos.data.tasks import Task
from eosvos.data.transforms import augment
from eosvos.errors import UserError
from eosvos.files import shipped

SIZE = (32, 56)  # of the network
PICTURE = (40, 70)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A folder of videos with two objects each, one of stills with one or three."""
    root = tmp_path_factory.mktemp("data")
    draws = np.random.default_rng(0)

    def write(frame: Path, mask: Path, ids: tuple[int, ...]) -> None:
        frame.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draws.integers(0, 256, (*PICTURE, 3), np.uint8)).save(frame)
        layer = np.zeros(PICTURE, np.uint8)
        for place, number in enumerate(ids):
            layer[8:24, 4 + 22 * place : 22 + 22 * place] = number
        write_mask(mask, layer)

    for video in ("v0", "v1", "v2"):
        for k in range(3):
            write(root / f"videos/frames/{video}/{k}.png", root / f"videos/masks/{video}/{k}.png", (1, 2))
    for k in range(5):
        write(root / f"stills/images/s{k}.png", root / f"stills/masks/s{k}.png", (1, 2, 3) if k % 2 else (1,))
    return root


FOLDER = {"kind": "folder", "root": "videos", "validation": ["v2"]}
STILLS = {"kind": "stills", "root": "stills", "held_out": 1}


def written(path: Path, *sources, **more) -> str:
    file = path / "mine.yaml"
    file.write_text(yaml.safe_dump({"sources": list(sources), **more}))
    return str(file)


def opened(path: Path, data: Path, *sources, **more):
    file = written(path, *sources, **more)
    return mixture.open_mixture(mixture.read(file), file, str(data), SIZE)


def names(tasks, count=200, seed=0) -> Counter:
    return Counter((t.name, t.object_id) for t in (tasks.task(seed, i, 0) for i in range(count)))


def test_uniform_over_all_objects(tmp_path, data):
    train, unseen = opened(tmp_path, data, FOLDER, STILLS, balance="objects")
    counts = names(train, 600)
    stills = {name for name, _ in counts if name[0] == "s"}
    assert len(stills) == 4 and {name for name, _ in counts if name[0] == "v"} == {"v0", "v1"}
    expected = 600 / len(counts)
    assert sum((n - expected) ** 2 / expected for n in counts.values()) < 33  # 0.1 % of 12 degrees of freedom
    held = {name for name, _ in names(unseen)}
    assert "v2" in held and len(held) == 2 and not held & {name for name, _ in counts}


def test_by_weights(tmp_path, data):
    train, _ = opened(tmp_path, data, FOLDER | {"weight": 3}, STILLS, balance="sources")
    share = sum(n for (name, _), n in names(train, 800).items() if name[0] == "v") / 800
    assert abs(share - 0.75) < 0.05
    pictures = Counter(len(train.image(0, i, 0).masks) for i in range(60))
    assert set(pictures) <= {1, 2, 3} and pictures[2] > 20  # all objects of a picture are instances
    only, _ = opened(tmp_path, data, FOLDER | {"weight": 0}, STILLS)
    assert all(name[0] == "s" for name, _ in names(only, 50))


def test_objects_of_a_sequence_are_separate_tasks(tmp_path, data):
    """An image alone does not tell what to segment, so nothing can be learned by heart (paper, 3.2.3)."""
    still = {"scale": [1, 1], "rotation": 0, "translation": 0, "flip": False, "colour": 0}
    train, _ = opened(tmp_path, data, FOLDER | {"transform": still}, balance="objects")
    targets: dict[bytes, set[bytes]] = {}
    for i in range(80):
        sample = train.task(0, i, 0).train[0]
        assert sample.masks.shape == (1, *SIZE)
        targets.setdefault(sample.image.numpy().tobytes(), set()).add(sample.masks.numpy().tobytes())
    assert len(targets) == 6 and all(len(masks) == 2 for masks in targets.values())


def test_test_sequences_are_nowhere(tmp_path, data):
    train, unseen = opened(tmp_path, data, FOLDER | {"test": ["v0"]}, STILLS)
    assert "v0" not in {name for tasks in (train, unseen) for name, _ in names(tasks)}


def test_draws_depend_on_three_numbers_only(tmp_path, data):
    """Whatever was drawn before, however many workers and processes, with and without a cache."""
    sources = (FOLDER, STILLS, {"kind": "synthetic", "render": [32, 56], "length": 4, "held_out": 1})
    train, _ = opened(tmp_path, data, *sources)
    stream = TaskStream(train, seed=3, batch=3, stop=4)
    plain = [fingerprint(task) for task in DataLoader(stream, batch_size=None)]
    assert plain == [fingerprint(train.task(3, i // 3, i % 3)) for i in range(12)] and len(set(plain)) == 12
    uncached, _ = opened(tmp_path, data, *sources, cache=0)
    assert [fingerprint(task) for task in TaskStream(uncached, seed=3, batch=3, stop=4)] == plain
    workers = DataLoader(stream, batch_size=None, num_workers=2)
    assert [fingerprint(task) for task in workers] == plain
    shared = [list(map(fingerprint, TaskStream(train, seed=3, batch=3, stop=4, rank=r, world=2))) for r in (0, 1)]
    assert sorted(shared[0] + shared[1]) == sorted(plain)
    other, _ = opened(tmp_path, data, *sources, seed=5)
    held = {frozenset(s.name for s, _ in tasks.tasksets[1].objects) for tasks in (train, other)}
    assert len(held) == 2  # the file's seed draws what is held out


def fingerprint(task: Task) -> bytes:
    tensors = [t for sample in (*task.train, task.meta) for t in (sample.image, sample.masks)]
    return b"".join(t.numpy().tobytes() for t in tensors)


def test_frames_are_read_at_twice_the_network(tmp_path, data):
    train, _ = opened(tmp_path, data, FOLDER, shrink=1.0)
    assert {s.size for s, _ in train.tasksets[0].objects} == {(32, 56)}
    train, _ = opened(tmp_path, data, FOLDER)
    assert {s.size for s, _ in train.tasksets[0].objects} == {PICTURE}  # nothing is enlarged
    assert train.task(0, 0, 0).train[0].image.shape == (3, *SIZE)


def test_the_content_is_what_decides(tmp_path, data):
    def of(*sources, **more):
        return mixture.content(mixture.read(written(tmp_path, *sources, **more)))

    same = of(FOLDER, STILLS)
    assert of(FOLDER | {"weight": 1}, STILLS, cache=7) == same  # a default written out; a cache changes nothing
    assert of(FOLDER, STILLS, seed=1) != same and of(FOLDER, STILLS | {"min_area": 0.1}) != same


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"balance": "videos"}, ["balance=videos: expected objects or sources"]),
        ({"ballance": "objects"}, ["ballance: no such setting", "balance"]),
        ({"sources": []}, ["sources=[]: expected one or more"]),
        ({"sources": None}, ["sources"]),
        ({"sources": ["ECSSD"]}, ["sources[0]: kind=None: expected one of davis"]),
        ({"sources": [{"kind": "stils"}]}, ["sources[0]: kind=stils: expected one of davis"]),
        ({"sources": [STILLS | {"weigth": 2}]}, ["sources[0] (stills): weigth: no such setting", "weight"]),
        ({"sources": [STILLS | {"year": 2016}]}, ["sources[0] (stills): year: no such setting"]),
        ({"sources": [STILLS, FOLDER | {"weight": -1}]}, ["sources[1] (folder): weight=-1.0: expected 0 or more"]),
        ({"sources": [STILLS | {"weight": "much"}]}, ["sources[0] (stills): weight:", "much"]),
        ({"sources": [STILLS | {"weight": 0}]}, ["all weights are 0"]),
        ({"sources": [STILLS | {"weight": float("nan")}]}, ["weight=nan"]),
        ({"sources": [STILLS | {"min_area": 2}]}, ["min_area=2.0: expected 0 to 1"]),
        ({"sources": [STILLS | {"transform": {"spin": 2}}]}, ["sources[0] (stills)", "spin"]),
        ({"sources": [STILLS | {"transform": {"scale": [2, 1]}}]}, ["transform.scale"]),
        ({"sources": [{"kind": "davis", "held_out": 1}]}, ["sources[0] (davis)", "year"]),
        ({"sources": [{"kind": "folder"}]}, ["nothing to validate on", "held_out"]),
        ({"balance": "objects", "sources": [{"kind": "synthetic", "held_out": 1}]}, ["endless", "balance: sources"]),
        ({"balance": "objects", "sources": [STILLS | {"weight": 2}]}, ["weight=2.0: no use with balance: objects"]),
        ({"cache": -1, "seed": -2, "shrink": 0.5}, ["cache=-1", "seed=-2", "shrink=0.5: expected 1 or more"]),
    ],
)
def test_a_wrong_file_is_named_with_what_is_expected(tmp_path, change, said):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"sources": [STILLS], **change}))
    with pytest.raises(UserError) as caught:
        mixture.read(str(file))
    assert str(file) in str(caught.value) and all(part in str(caught.value) for part in said), caught.value


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(UserError, match="no such file; give the path of a .yaml, or one of coco, "):
        mixture.read("nothing")
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(UserError, match="bad.yaml: not a YAML file"):
        mixture.read(str(tmp_path / "bad.yaml"))
    (tmp_path / "code.yaml").write_text("sources: !!python/object/apply:os.system ['false']")
    with pytest.raises(UserError, match="code.yaml: not a YAML file"):
        mixture.read(str(tmp_path / "code.yaml"))


@pytest.mark.parametrize(
    ("source", "root", "said"),
    [
        (STILLS | {"root": "ecssd"}, True, ["sources[1] (stills): root ecssd", "is not there", "data_root="]),
        (STILLS, False, ["sources[0] (folder): root videos: where it lies is not known", "EOSVOS_DATA"]),
        (STILLS | {"held_out": 5}, True, ["sources[1] (stills)", "held_out=5: nothing is left"]),
        (STILLS | {"test": ["s9"]}, True, ["sources[1] (stills)", "test=s9: not among its 5 sequences"]),
        (STILLS | {"validation": ["s1"], "test": ["s1"]}, True, ["validation=s1: also in test"]),
    ],
)
def test_what_does_not_fit_the_data(tmp_path, data, source, root, said):
    file = written(tmp_path, FOLDER, source)
    with pytest.raises(UserError) as caught:
        mixture.open_mixture(mixture.read(file), file, str(data) if root else None, SIZE)
    assert all(part in str(caught.value) for part in said), caught.value


def test_missing_roots_are_told_before_anything_is_opened(tmp_path, data, monkeypatch):
    monkeypatch.setattr(mixture, "_open", None)
    with pytest.raises(UserError, match="root nowhere"):
        opened(tmp_path, data, FOLDER, STILLS | {"root": "nowhere"})


def test_the_transform_is_the_library_s():
    known = inspect.signature(augment).parameters
    for key, value in vars(mixture.Transform()).items():
        assert known[key].default == value


@pytest.mark.parametrize("path", sorted(shipped("tasksets").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_ones_are_right(path):
    assert mixture.read(path.stem).sources


def test_the_real_ones(shared_data):
    train, unseen = mixture.open_mixture(mixture.read("real-small"), "real-small", str(shared_data), (64, 112))
    assert [type(source).__name__ for source in mixture.read("real-small").sources] == [
        "Davis",
        "Stills",
        "Stills",
        "Coco",
    ]
    for one in (*train.tasksets, *unseen.tasksets):
        task = one.task(0, 0, 0)
        assert task.train[0].masks.any() and task.meta.masks.any() and len(one.image(0, 0, 0).masks)
    davis = [{s.name for s, _ in tasks.tasksets[0].objects} for tasks in (train, unseen)]
    test = set(mixture.read("real-small").sources[0].test)
    assert list(map(len, davis)) == [21, 3] and len(test) == 6 and not test & (davis[0] | davis[1])
