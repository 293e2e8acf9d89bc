"""Video files: written and read back."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from eosvos.data.video import write_video
from eosvos.errors import UserError

av = pytest.importorskip("av")

BARS = ((200, 30, 30), (30, 180, 60), (40, 60, 220))


def bars(height: int = 48, width: int = 66) -> np.ndarray:
    """Three upright bars of colours that a wrong colour matrix or range would change."""
    picture = np.zeros((height, width, 3), np.uint8)
    for k, colour in enumerate(BARS):
        picture[:, k * width // 3 : (k + 1) * width // 3] = colour
    return picture


@pytest.mark.parametrize("name", ["a.mp4", "new folder/ü b.mkv", "c.mov", "d.avi"])
@pytest.mark.parametrize("size", [(48, 66), (47, 65)])
def test_written_videos_have_the_frames_the_colours_and_the_rate(tmp_path, name, size):
    path = tmp_path / name
    write_video(path, (np.roll(bars(*size), k, 0) for k in range(7)), 12.5)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert stream.average_rate == 12.5
    assert len(frames) == 7 and frames[0].shape == (48, 66, 3)
    for k, colour in enumerate(BARS):
        assert abs(frames[3][20, 11 + 22 * k].astype(int) - colour).max() <= 4
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_nothing_half_written_is_left(tmp_path):
    def broken():
        yield bars()
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        write_video(tmp_path / "a.mp4", broken())
    with pytest.raises(ValueError, match="no frames"):
        write_video(tmp_path / "a.mp4", [])
    for wrong in ([bars(), bars(50)], [bars().astype(np.float32)], [bars()[..., 0]]):
        with pytest.raises(ValueError, match="uint8"):
            write_video(tmp_path / "a.mp4", wrong)
    assert not list(tmp_path.iterdir())


def test_where_a_video_cannot_be_written_is_told(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="a.gif.*as .mp4"):
        write_video(tmp_path / "a.gif", [bars()])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_video(tmp_path / "file" / "a.mp4", [bars()])
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"pip install 'eosvos\[video\]'"):
        write_video(tmp_path / "a.mp4", [bars()])
