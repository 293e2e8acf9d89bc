"""The zip for the servers: what they want is in it, and nothing wrong ever gets there."""

import errno
import io
import zipfile
from dataclasses import replace

import made
import makers
import numpy as np
import pytest
from PIL import Image

from eosvos.data.masks import read_mask, write_mask
from eosvos.data.palette import DAVIS_PALETTE
from eosvos.errors import UserError
from eosvos.evaluation import benchmark
from eosvos.evaluation.submission import write_submission


def videos():
    return [made.video("a", 1), made.video("b", 2, late=4)]


def masks_of(sequence, change=None):
    """Masks without void; `change` may alter those of frame 3."""

    def read(index):
        mask = np.where(sequence.mask(index) == 255, 0, sequence.mask(index)).astype(np.uint8)
        return mask if change is None or index != 3 else change(mask)

    return read


def write(path, kind="davis", change=None, sequences=None):
    sequences = videos() if sequences is None else sequences
    masks = {sequence.name: masks_of(sequence, change if sequence.name == "b" else None) for sequence in sequences}
    write_submission(path, sequences, masks, kind)
    return masks


@pytest.mark.parametrize(
    ("kind", "folder"), [("davis", ""), ("mose", ""), ("youtube_vos", "Annotations/"), ("lvos", "Annotations/")]
)
def test_each_server_finds_all_masks_where_it_looks(tmp_path, kind, folder):
    masks = write(tmp_path / "s.zip", kind)
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        assert archive.namelist() == [f"{folder}{name}/{k:05d}.png" for name in "ab" for k in range(8)]
        assert archive.testzip() is None
        for name in archive.namelist():
            video, frame = name.split("/")[-2:]
            with Image.open(io.BytesIO(archive.read(name))) as image:
                assert image.format == "PNG" and image.mode == "P"
                palette = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
                assert (palette == DAVIS_PALETTE[: len(palette)]).all() and len(palette) > 3
                assert (np.array(image) == masks[video](int(frame[:5]))).all()


def test_only_frames_that_are_asked_for(tmp_path):
    sequences = [replace(video, submission_frames=frozenset({0, 5})) for video in videos()]
    write(tmp_path / "s.zip", "youtube_vos", sequences=sequences)
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        assert archive.namelist() == [f"Annotations/{name}/{k}.png" for name in "ab" for k in ("00000", "00005")]


def test_equal_masks_make_an_equal_file(tmp_path):
    write(tmp_path / "1.zip")
    write(tmp_path / "2.zip")
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()


def missing(mask):
    raise UserError("b: no mask for frame 00003")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda mask: mask * np.uint8(7), "b 00003: the mask has the ids 7, and the objects are 1, 3"),
        (lambda mask: np.where(mask == 1, 255, mask).astype(np.uint8), "b 00003: the mask has the ids 255"),
        (lambda mask: mask[:, 2:], "b 00003: the mask is 30x24 pixels, its frame 32x24"),
        (missing, "no mask for frame 00003"),
    ],
)
def test_what_a_server_would_refuse_is_named_and_not_written(tmp_path, change, said):
    with pytest.raises(UserError, match=said):
        write(tmp_path / "s.zip", change=change)
    assert not list(tmp_path.iterdir())


def test_an_older_zip_outlives_a_refusal_and_a_full_disk(tmp_path, monkeypatch):
    write(tmp_path / "s.zip")
    before = (tmp_path / "s.zip").read_bytes()
    with pytest.raises(UserError):
        write(tmp_path / "s.zip", change=missing)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "writestr", full)
        with pytest.raises(UserError, match="no space left"):
            write(tmp_path / "s.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["s.zip"]
    assert (tmp_path / "s.zip").read_bytes() == before


def test_a_run_writes_the_masks_that_it_made_last(tmp_path):
    out = tmp_path / "run"
    settings = {"fingerprint": {}, "progress": False}
    benchmark.run(makers.copy_first, videos(), out, submission="mose", **settings)
    with zipfile.ZipFile(out / "submission.zip") as archive:
        stored = np.array(Image.open(io.BytesIO(archive.read("b/00005.png"))))
    assert (stored == read_mask(out / "masks/b/00005.png")).all() and {1, 3} <= set(np.unique(stored))
    (out / "masks/b/00005.png").unlink()
    benchmark.run(makers.copy_first, videos(), out, **settings)
    assert not (out / "submission.zip").exists()  # it was of masks that had been there before
    write_mask(out / "masks/b/00005.png", np.full(made.SIZE, 9, np.uint8))
    with pytest.raises(UserError, match="b 00005: the mask has the ids 9"):
        benchmark.run(makers.copy_first, videos(), out, submission="mose", **settings)
    assert not (out / "submission.zip").exists() and (out / "global.csv").exists()
