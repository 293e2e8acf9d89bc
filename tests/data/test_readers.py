"""What all readers have in common: laziness, names, roots one too high or too low, and messages about broken files."""

from __future__ import annotations

import pickle
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from trees import SIZE, TREES, VIDEOS, Tree, mose, youtube_vos

from eosvos.cli import build_data
from eosvos.cli.data_sections import DatasetSection
from eosvos.data import image_files, masks
from eosvos.data.readers import image_sequence, per_object_masks
from eosvos.errors import UserError
from eosvos.files import shipped


@pytest.fixture(params=TREES)
def tree(request, tmp_path) -> Tree:
    return TREES[request.param](tmp_path)


def complaint(tree: Tree, root: Path | None = None) -> str:
    with pytest.raises(UserError) as caught:
        tree.open(root or tree.root)
    return str(caught.value)


def test_names_objects_and_masks_of_every_reader(tree):
    opened = tree.open(tree.root)
    assert len(opened) == 2 and all(name in sequence.name for name, sequence in zip(VIDEOS, opened, strict=True))
    for sequence in opened:
        assert sequence.size == SIZE and sequence.read_frame(len(sequence) - 1).shape == (*SIZE, 3)
        assert len(set(sequence.frame_names)) == len(sequence)
        seen = [() if (mask := sequence.mask(k)) is None else masks.ids_of(mask) for k in range(len(sequence))]
        for i, first in sequence.first_frame.items():  # what is true of the first frames, looked for in all
            assert i in seen[first] and not any(i in ids for ids in seen[:first])
            assert sequence.new_objects(first)[i].any()
        assert set().union(*seen) == set(sequence.first_frame)
    assert tree.late == any(first for sequence in opened for first in sequence.first_frame.values())
    again = pickle.loads(pickle.dumps(opened[0]))  # other processes get them so
    assert (again.mask(0) == opened[0].mask(0)).all() and (again.read_frame(1) == opened[0].read_frame(1)).all()


def test_opening_decodes_no_frame_and_few_masks(tree, monkeypatch):
    read: Counter[str] = Counter()

    def watch(module, name):
        true = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, **more: read.update([name]) or true(*args, **more))

    for module, name in (
        (image_sequence, "read_image"),
        (image_sequence, "read_mask"),
        (per_object_masks, "read_object_mask"),
    ):
        watch(module, name)
    opened = tree.open(tree.root)
    assert read["read_image"] == 0 and read["read_mask"] + read["read_object_mask"] == tree.reads
    opened[0].read_frame(0), opened[0].mask(0)
    assert read["read_image"] == 1 and read["read_mask"] + read["read_object_mask"] > tree.reads


def test_sequences_are_chosen_by_name(tree):
    first, second = (sequence.name for sequence in tree.open(tree.root))
    assert [s.name for s in tree.open(tree.root, sequences=[second, first, second])] == [second, first]
    with pytest.raises(UserError, match="nowhere"):
        tree.open(tree.root, sequences=[first, "nowhere"])


def test_a_root_too_low_names_the_right_one(tree):
    for low in (tree.images, tree.images.parent, tree.masks):
        said = complaint(tree, low)
        right = said.split("give the folder above: data_root=")[1].split("; ")[0]
        assert len(tree.open(Path(right))) == 2, said


def test_a_root_too_high_names_the_right_one(tree):
    said = complaint(tree, tree.root.parent)
    assert f"one folder lower, give data_root={tree.root};" in said


def test_among_several_the_folder_of_its_name_is_meant(tree):
    for name in ("DAVIS-like", "zoo"):
        shutil.copytree(tree.root, tree.root.with_name(name))
    name = {"lvos": "my LVOS", "sav": "sa-v 2024", "mose": "MOSEv2", "youtube_vos": "YouTubeVOS_2018"}
    kind = getattr(tree.open, "func", tree.open).__name__.removeprefix("open_")
    right = tree.root.rename(tree.root.with_name(name.get(kind, kind.replace("_", "-") + " 2016 2017 v2")))
    if kind not in ("davis", "segtrack"):
        assert f"give data_root={right} (or " in complaint(tree, right.parent)


def test_roots_that_are_nothing(tree, tmp_path):
    assert "does not exist" in complaint(tree, tmp_path / "nowhere")
    assert "is a file" in complaint(tree, next(iter(tree.images.iterdir())))
    (tmp_path / "else" / "things").mkdir(parents=True)
    assert "there is things" in complaint(tree, tmp_path / "else")


@pytest.mark.parametrize("name", ["youtube-vos", "mose", "lvos", "sa-v"])
def test_a_root_of_another_split_is_told(name, tmp_path):
    tree = TREES[name](tmp_path)
    there, asked = {"youtube-vos": ("train", "test"), "mose": ("train", "valid"), "lvos": ("val", "train")}.get(
        name, ("val", "test")
    )
    with pytest.raises(UserError, match=f"data_root=.* split={there}.*ask for that, or fetch"):
        tree.open.func(tree.root, split=asked)


def third(folder: Path) -> Path:
    """A file in the midst of a folder."""
    return image_files.list_files(folder)[2]


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: -max(40, path.stat().st_size // 4)])
    return path


def shrink(path: Path) -> Path:
    with Image.open(path) as image:
        image.resize((20, 24)).save(path)
    return path


def blur(path: Path) -> Path:
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(path, format="JPEG")
    return path


def text(path: Path) -> Path:
    path.write_text("<html>quota exceeded</html>")
    return path


def stray(folder: Path) -> Path:
    """A mask of a frame that is not there."""
    path = third(folder)
    return path.rename(path.with_name(path.name.replace(path.stem, path.stem[:-3] + "777")))


def without(path: Path) -> Path:
    path.unlink()
    return path.parent


def emptied(folder: Path) -> Path:
    for path in folder.iterdir():
        path.unlink()
    return folder


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda tree: cut(third(tree.masks)), "this mask cannot be read"),
        (lambda tree: cut(third(tree.images)), "this frame cannot be read"),
        (lambda tree: text(third(tree.masks)), "this mask cannot be read"),
        (lambda tree: shrink(third(tree.masks)), "is 20x24 pixels, but its sequence is 64x36"),
        (lambda tree: shrink(third(tree.images)), "is 20x24 pixels, but its sequence is 64x36"),
        (lambda tree: stray(tree.masks), "a mask without its frame"),
        (lambda tree: emptied(tree.masks), "masks"),
        (lambda tree: emptied(tree.images), "frames"),
    ],
    ids=["cut mask", "cut frame", "no image", "mask size", "frame size", "stray", "no masks", "no frames"],
)
def test_what_is_broken_is_named_on_opening(tree, harm, said):
    path = harm(tree)
    complained = complaint(tree)
    assert said in complained and str(path) in complained


def test_a_video_without_a_folder_of_masks_is_named(tree):
    video = next(path for path in (tree.masks, *tree.masks.parents) if path.name == VIDEOS[0])
    video.rename(video.with_name("moved"))
    if "shots" in tree.masks.parts:  # frames and masks of YouTube-Objects are in one folder
        assert "moved" in tree.open(tree.root)[0].name
    else:
        assert f"{video}:" in complaint(tree)


def test_a_missing_frame_is_named(tree):
    frame = third(tree.images)
    without(frame)
    complained = complaint(tree)
    assert frame.stem.rsplit("_", 1)[-1] in complained or "4 frames, and by" in complained


def test_masks_that_are_blurred_are_refused(tree):
    path = blur(third(tree.masks))
    if path.suffix == ".jpg":  # YouTube-Objects is published so
        assert len(tree.open(tree.root)) == 2
    else:
        said = complaint(tree)
        assert "stored as JPEG" in said and str(path) in said


def test_two_frames_of_one_name_are_refused(tree):
    path = third(tree.images)
    other = path.with_suffix(".jpg" if path.suffix == ".png" else ".png")
    Image.new("RGB", SIZE[::-1]).save(other)
    assert "two frames" in complaint(tree)


BUILT = {**TREES, "youtube-vos-2018": lambda root: youtube_vos(root, "valid"), "mose": lambda root: mose(root, "valid")}
BUILT |= {"youtube-vos-2019": BUILT["youtube-vos-2018"], "lvos-v2": BUILT["lvos"]}
PROTOCOLS = {"sa-v": "from-first-appearance", "davis16": "davis", "davis17": "davis", "mose": "davis"}
PROTOCOLS |= {"lvos": "lvos", "lvos-v2": "lvos"}


@pytest.mark.parametrize(
    "name",
    sorted(
        {path.stem for path in (shipped("conf") / "dataset").glob("*.yaml")}
        - {"folder", "synthetic", "real-small-test", "video"}
    ),
)
def test_every_configuration_opens_its_data_set(name, tmp_path):
    content = yaml.safe_load((shipped("conf") / "dataset" / f"{name}.yaml").read_text())
    section = DatasetSection(**content.get("dataset", content))
    root, split = str(BUILT[name](tmp_path).root), content.get("split")
    chosen = VIDEOS if section.kind == "davis" else ()
    assert len(build_data.open_dataset(section, root, split, chosen)) == 2
    assert section.name == name and section.protocol == PROTOCOLS.get(name, "youtube-vos")
    with pytest.raises(UserError, match="split=nonsense"):
        build_data.open_dataset(section, root, "nonsense", ())
    with pytest.raises(UserError, match="give its folder with data_root="):
        build_data.open_dataset(section, None, split, ())
