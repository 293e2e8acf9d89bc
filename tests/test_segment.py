"""One's own video: read in every form, segmented both ways, the same by command and API, continued after a kill."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import wave

import numpy as np
import pytest
import torch
from PIL import Image

from eosvos import progress, segment
from eosvos.data.masks import ids_of, read_mask, write_mask
from eosvos.data.readers.user_video import annotated_frames, open_own
from eosvos.errors import UserError
from eosvos.inference import segment_video
from eosvos.inference.segmenter import Segmenter
from eosvos.meta.learner import Learner
from eosvos.methods.baselines import Flow
from eosvos.methods.eosvos.method import EOSVOS
from eosvos.models import mask_rcnn

HEIGHT, WIDTH, LENGTH = 40, 64, 7


def ids_at(index):
    """Object 1 all the time, 2 from frame 4 on."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[5:20, 5 + index : 25 + index] = 1
    if index >= 4:
        mask[25:38, 60 - 2 * index : 62 - index] = 2
    return mask


def image_at(index):
    pixels = np.random.default_rng(0).integers(60, 160, (HEIGHT, WIDTH, 3), np.uint8)
    pixels[ids_at(index) == 1] = (250 - 3 * index, 220, 30)
    pixels[ids_at(index) == 2] = (10, 20, 90)
    return pixels


@pytest.fixture
def clip(tmp_path):
    """A folder of frames, numbered from 10."""
    folder = tmp_path / "my clip ü"
    folder.mkdir()
    for index in range(LENGTH):
        Image.fromarray(image_at(index)).save(folder / f"shot_{10 + index}.png")
    return folder


def masks_in(folder, indices, name=lambda index: f"{10 + index}"):
    for index in indices:
        write_mask(folder / f"{name(index)}.png", ids_at(index))
    return folder


@pytest.fixture(scope="module")
def learner():
    torch.manual_seed(0)
    model = mask_rcnn.build("tiny", short=64, long=112, score=0.0)
    return Learner.create(model, 0.02, "neuron", {"model": model.spec})


@pytest.fixture(scope="module")
def learner_file(learner, tmp_path_factory):
    path = tmp_path_factory.mktemp("learner") / "learner.safetensors"
    learner.save(path)
    return path


def test_masks_are_put_to_frames_by_name_or_number(clip, tmp_path):
    by_number = masks_in(tmp_path / "numbers", [2, 4, 6])
    by_name = masks_in(tmp_path / "names", [2, 4, 6], lambda index: f"shot_{10 + index}")
    for folder in (by_number, by_name):
        video, rate = open_own(clip, masks=folder)
        assert (
            annotated_frames(video) == [2, 4, 6] and video.first_frame == {1: 2, 2: 4} and video.prompt_frames == (4, 6)
        )
        assert np.array_equal(video.mask(4), ids_at(4)) and video.mask(3) is None and rate == 24
    write_mask(tmp_path / "first.png", ids_at(0))
    assert open_own(clip, mask=tmp_path / "first.png")[0].first_frame == {1: 0}
    with pytest.raises(UserError, match="mask 3 has no frame: the 7 frames are shot_10 to shot_16"):
        open_own(clip, masks=masks_in(tmp_path / "wrong", [2], lambda index: "3"))
    with pytest.raises(UserError, match="two masks for frame shot_12"):
        open_own(clip, masks=masks_in(by_number, [2], lambda index: "shot_12"))


def test_it_goes_both_ways_from_the_first_mask_and_later_objects_join(clip, tmp_path, learner):
    """Frame by frame what a Segmenter gives that is walked by hand."""
    video, _ = open_own(clip, masks=masks_in(tmp_path / "masks", [2, 4]))
    ticks = []
    segment_video.segment(lambda: EOSVOS(learner, iters=2, seed=3), video, tmp_path / "out", tick=ticks.append)
    assert sum(ticks) == segment_video.total(video) == LENGTH + 1 + 5  # object 2 goes back from frame 4
    found = [read_mask(tmp_path / "out" / "masks" / f"{name}.png") for name in video.frame_names]

    forwards, backwards = (Segmenter(EOSVOS(learner, iters=2, seed=3)) for _ in range(2))
    alone = Segmenter(EOSVOS(learner, iters=2, seed=3))
    for segmenter in (forwards, backwards, alone):
        segmenter.learn(image_at(4), {1: ids_at(4) == 1})
        assert np.array_equal(segmenter.start(image_at(2), ids_at(2)), ids_at(2))
    expected = {index: backwards.step(image_at(index)) for index in (1, 0)} | {2: ids_at(2)}
    expected[3] = forwards.step(image_at(3))
    alone.step(image_at(3))
    for segmenter in (forwards, alone):
        segmenter.step(image_at(4))
        segmenter.add(image_at(4), {2: ids_at(4) == 2})
    assert np.array_equal(alone.show(image_at(4), {1: ids_at(4) == 1}), found[4])
    alone.remove(1)
    # Behind the first object: a mask that does not show object 2 does not tell that it is absent.
    for index in (3, 2, 1, 0):
        late = alone.step(image_at(index))
        assert np.array_equal(np.where(expected[index] > 0, expected[index], late), found[index])
    assert np.array_equal(forwards.show(image_at(4), {1: ids_at(4) == 1}), found[4])
    assert np.array_equal(found[4], ids_at(4))
    for index in (5, 6):
        assert np.array_equal(forwards.step(image_at(index)), found[index])
    assert not (tmp_path / "out" / "state").exists()
    lines = [json.loads(line) for line in (tmp_path / "out" / "uncertainty.jsonl").read_text().splitlines()]
    assert {line["frame"] for line in lines} == set(video.frame_names) and forwards.uncertainty.keys() == {1, 2}
    assert lines[LENGTH - 1] == {"frame": "shot_16", **{str(i): round(u, 4) for i, u in forwards.uncertainty.items()}}
    assert segment_video.suggested(video, tmp_path / "out", [2, 4]) in {0, 1, 3, 5, 6}
    assert segment_video.suggested(video, tmp_path / "out", range(LENGTH)) is None


def test_it_may_be_told_that_an_object_is_not_there_before_its_first_mask(clip, tmp_path, learner):
    masks = masks_in(tmp_path / "masks", [2])
    write_mask(masks / "10.png", ids_at(0) * 0)
    video, _ = open_own(clip, masks=masks)
    assert annotated_frames(video) == [0, 2] and video.first_frame == {1: 2}
    made = [EOSVOS(learner, iters=3), Flow()]
    for method in made:
        segment_video.segment(lambda method=method: method, video, tmp_path / type(method).__name__)
        there = tmp_path / type(method).__name__ / "masks"
        assert not read_mask(there / "shot_10.png").any() and np.array_equal(
            read_mask(there / "shot_12.png"), ids_at(2)
        )
    assert [bool(given.sample.masks.any()) for given in made[0]._objects[1].given] == [True, False]


def test_a_method_that_does_not_learn_takes_masks_on_their_frames(clip, tmp_path):
    video, _ = open_own(clip, masks=masks_in(tmp_path / "masks", [2, 5]))
    segment_video.segment(Flow, video, tmp_path / "out")
    for index in (2, 5):
        found = read_mask(tmp_path / "out" / "masks" / f"shot_{10 + index}.png")
        for i in ids_of(ids_at(index)):  # of the objects that it shows; the second one comes back to frame 2
            assert np.array_equal(found == i, ids_at(index) == i)


@pytest.mark.parametrize("after", [1, 2, 3, 5, 7, 10])
def test_what_was_cut_off_continues_with_the_same_masks(clip, tmp_path, learner, after):
    """On the way back, between the ways, and on the way forth; it does not begin anew."""
    video, _ = open_own(clip, masks=masks_in(tmp_path / "masks", [2, 4]))
    made = []

    def make():
        made.append(EOSVOS(learner, iters=2, seed=3, ona=True))
        return made[-1]

    segment_video.segment(make, video, tmp_path / "whole")
    count = 0

    def cut(frames):
        nonlocal count
        count += frames
        if count == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment_video.segment(make, video, tmp_path / "cut", tick=cut, save_every=0)
    begun, done = len(made), []
    segment_video.segment(make, video, tmp_path / "cut", tick=done.append, save_every=0)
    assert done[0] == (2 if after == 3 else after) and sum(done) == LENGTH + 1 + 5  # the end of a way back is not saved
    assert len(made) == begun == 2  # fine-tuned once for both ways
    for name in video.frame_names:
        one, two = (read_mask(tmp_path / run / "masks" / f"{name}.png") for run in ("whole", "cut"))
        assert np.array_equal(one, two)
    shutil.rmtree(tmp_path / "whole" / "masks")
    segment_video.segment(make, video, tmp_path / "whole")  # the masks are gone: all anew
    assert len(list((tmp_path / "whole" / "masks").glob("*.png"))) == LENGTH


def run(*arguments):
    return segment.main([*map(str, arguments), "device=cpu"])


def test_a_full_disk_loses_nothing_that_was_written(clip, tmp_path, learner, monkeypatch):
    """Wherever it fills up, in a mask or in a state: it is told, nothing is half written, and what there is goes on."""
    video, _ = open_own(clip, masks=masks_in(tmp_path / "masks", [2, 4]))

    def make():
        return EOSVOS(learner, iters=1, seed=3)

    segment_video.segment(make, video, tmp_path / "whole")
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole" / "masks").iterdir()}
    replace = os.replace
    for number, suffix in [(3, ".png"), (5, ".png"), (2, ".safetensors"), (4, ".safetensors")]:
        out, written = tmp_path / f"{number}{suffix}", []

        def full(source, target, number=number, suffix=suffix, written=written):
            written += [target] * str(target).endswith(suffix)
            if len(written) == number:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            replace(source, target)

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", full)
            with pytest.raises(UserError, match="no space left"):
                segment_video.segment(make, video, out, save_every=0)
        kept = list((out / "masks").iterdir())  # without the objects of passes that are still to come
        assert {path.name for path in kept} <= whole.keys() and not list(out.rglob("*.tmp*")), kept
        assert all(read_mask(path).shape == (HEIGHT, WIDTH) for path in kept)
        segment_video.segment(make, video, out, save_every=0)
        assert {path.name: path.read_bytes() for path in (out / "masks").iterdir()} == whole


def test_the_command_writes_what_is_asked_for_in_all_forms(clip, tmp_path, learner_file, capsys):
    masks, out = masks_in(tmp_path / "masks", [0, 4]), tmp_path / "out"
    line = (f"video='{clip}'", f"masks={masks}", f"learner={learner_file}", "iters=2", f"out={out}")
    assert run(*line, "outputs=[json,cutout,objects]") == 0
    said = capsys.readouterr()
    assert "masks: palette images, the index is the id" in said.out + said.err
    assert "objects [1, 2] given on frame shot_10, shot_14" in said.err and f"masks:    {out / 'masks'}" in said.out
    assert "next:     a mask of frame shot_1" in said.out
    found = {p.stem: read_mask(p) for p in (out / "masks").glob("*.png")}
    assert len(found) == LENGTH and np.array_equal(found["shot_14"], ids_at(4))
    for index in range(LENGTH):
        name = f"shot_{10 + index}"
        for i in (1, 2):
            apart = np.array(Image.open(out / "objects" / f"{i:03d}" / f"{name}.png"))
            assert np.array_equal(apart, np.where(found[name] == i, 255, 0))
        shown = np.array(Image.open(out / "cutout" / f"{name}.png"))
        assert np.array_equal(shown[..., 3] == 255, found[name] > 0) and np.array_equal(shown[..., :3], image_at(index))
    codes = json.loads((out / "masks.json").read_text())
    assert [a["id"] for a in codes["annotations"]] == [1, 2]
    before = {p: p.stat().st_mtime_ns for p in (out / "masks").glob("*.png")}
    assert run(*line, "outputs=[overlay]") == 0  # added to what is there; nothing is segmented again
    assert {p: p.stat().st_mtime_ns for p in (out / "masks").glob("*.png")} == before
    write_mask(masks / "14.png", np.roll(ids_at(4), 1, 1))  # painted anew: another run, which is not mixed with this
    assert run(*line) == 2 and "holds a run with other settings (masks_hash" in capsys.readouterr().err


def test_a_run_without_out_goes_where_its_like_is_or_to_a_new_folder(clip, tmp_path, learner_file, monkeypatch, capsys):
    masks = masks_in(tmp_path / "masks", [0])
    line = (f"video='{clip}'", f"masks={masks}", f"learner={learner_file}", "iters=1", "outputs=[]")
    monkeypatch.chdir(tmp_path)

    def folders():
        assert run(*line) == 0
        return sorted(path.name for path in (tmp_path / "runs" / "segment").iterdir())

    assert folders() == folders() == [clip.name]
    shown = tmp_path / "runs" / "segment" / clip.name / "masks" / "shot_12.png"
    before = shown.read_bytes()
    shown.unlink()  # by accident: made again
    assert folders() == [clip.name] and shown.read_bytes() == before
    masks_in(masks, [3])  # one mask more
    assert folders() == folders() == [clip.name, f"{clip.name}-2"]
    code = f"from eosvos.files import locked\nwith locked({str(tmp_path / 'busy')!r}):\n  print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        assert run(*line, f"out={tmp_path / 'busy'}") == 2
        assert "another run is at work in this folder" in capsys.readouterr().err
        other.communicate(b"\n")


def test_interrupted_it_says_how_to_go_on_and_keeps_the_fine_tuning(clip, tmp_path, learner_file, monkeypatch, capsys):
    line = (f"video='{clip}'", f"masks={masks_in(tmp_path / 'masks', [0])}", f"learner={learner_file}", "iters=2")
    line += ("outputs=[]", f"out={tmp_path / 'out'}")
    monkeypatch.setattr(progress, "SECONDS_EVERY", 1e-6)
    step = EOSVOS.step

    def stopping(method, frame):
        if method._frames == 2:
            raise KeyboardInterrupt
        return step(method, frame)

    with monkeypatch.context() as patched:
        patched.setattr(EOSVOS, "step", stopping)
        assert run(*line) == 130
    said = capsys.readouterr().err
    assert "fine-tuning [2/2]  loss " in said and "interrupted; the same command continues" in said
    assert run(*line) == 0
    assert "fine-tuning" not in capsys.readouterr().err
    assert len(list((tmp_path / "out" / "masks").iterdir())) == LENGTH


def test_command_and_api_give_the_same_masks_of_a_video_file(tmp_path, learner, learner_file):
    pytest.importorskip("av")
    from eosvos.data.video.open import open_video
    from eosvos.data.video.write import write_video

    write_video(tmp_path / "my clip.mp4", (image_at(index) for index in range(LENGTH)), 12.5)
    write_mask(tmp_path / "first.png", ids_at(0))
    out = tmp_path / "out"
    assert (
        run(
            f"video='{tmp_path / 'my clip.mp4'}'",
            f"mask={tmp_path / 'first.png'}",
            f"learner={learner_file}",
            "iters=2",
            "seed=5",
            f"out={out}",
        )
        == 0
    )
    frames = open_video(tmp_path / "my clip.mp4")
    segmenter = Segmenter(EOSVOS(learner, iters=2, seed=5))
    for index in range(LENGTH):
        image = frames.read_frame(index)
        ids = segmenter.start(image, read_mask(tmp_path / "first.png")) if index == 0 else segmenter.step(image)
        assert np.array_equal(ids, read_mask(out / "masks" / f"{index:05d}.png"))
    shown = open_video(out / "overlay.mp4")
    assert len(shown) == LENGTH and shown.size == (HEIGHT, WIDTH)
    assert open_own(out / "overlay.mp4", mask=tmp_path / "first.png")[1] == 12.5
    difference = np.abs(shown.read_frame(0).astype(int) - frames.read_frame(0)).mean(2)
    assert difference[ids_at(0) == 1].mean() > 20 > difference[24:34, 8:30].mean()  # tinted where the object is


def test_the_first_mask_of_a_large_file_does_not_wait_for_its_count(
    tmp_path, learner_file, counting, monkeypatch, capsys
):
    pytest.importorskip("av")
    from eosvos.data.video.write import write_video

    video, first, out = tmp_path / "clip.mkv", tmp_path / "first.png", tmp_path / "out"
    write_video(video, (image_at(index) for index in range(LENGTH)), 12.5)
    write_mask(first, ids_at(0))
    line = [f"video={video}", f"mask={first}", f"learner={learner_file}", "iters=2", "outputs=[]"]
    command = threading.Thread(target=run, args=(*line, f"out={out}"))
    command.start()
    end = time.monotonic() + 60
    while not (out / "masks" / "00000.png").exists() and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.2)
    assert [path.name for path in (out / "masks").iterdir()] == ["00000.png"] and command.is_alive()
    counting.set()
    command.join(60)
    told = capsys.readouterr()
    assert f"many frames of {WIDTH}x{HEIGHT}" in told.err and f"{LENGTH} frames in" in told.out
    assert run(*line, f"out={tmp_path / 'known'}") == 0
    for index in range(LENGTH):
        name = f"masks/{index:05d}.png"
        assert np.array_equal(read_mask(out / name), read_mask(tmp_path / "known" / name))
    assert run(*line, f"out={out}") == 0  # the same run, known again


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "video=null: give the video"),
        (("video={clip}",), "give the mask of its first frame with mask="),
        (("video={clip}", "mask={mask}", "masks={clip}"), "give one of the two"),
        (("video={clip}", "mask=none.png"), "none.png"),
        (("video=nothing.mp4", "mask={mask}"), "nothing.mp4: does not exist"),
        (("video={mask}", "mask={mask}"), "cannot be read as a video"),
        (("video={clip}", "mask={small}"), "12x10"),
        (("video={clip}", "mask={empty}"), "no object"),
        (("video={clip}", "mask={mask}", "outputs=[gif]"), "outputs=['gif']: expected one of overlay"),
        (("video={clip}", "mask={mask}", "out={mask}"), "is a file, expected a folder"),
        (("video={clip}", "mask={mask}", "out={clip}"), "holds other files"),
    ],
)
def test_what_cannot_be_done_is_said_before_long_work(tmp_path, clip, capsys, learner_file, arguments, told):
    write_mask(tmp_path / "first.png", ids_at(0))
    write_mask(tmp_path / "small.png", ids_at(0)[:10, :12])
    write_mask(tmp_path / "empty.png", ids_at(0) * 0)
    plain = tmp_path / "clip"
    shutil.copytree(clip, plain)
    places = {"small": tmp_path / "small.png", "empty": tmp_path / "empty.png", "mask": tmp_path / "first.png"}
    places["clip"] = plain
    before = sorted(p for p in tmp_path.rglob("*"))
    code = run(
        *(a.format(**places) for a in arguments),
        f"learner={learner_file}",
        "iters=1",
        *([] if any("out=" in a for a in arguments) else [f"out={tmp_path / 'out'}"]),
    )
    said = capsys.readouterr().err
    assert code == 2 and told in said, said
    assert sorted(p for p in tmp_path.rglob("*")) == before


def turned(folder):
    exif = Image.Exif()
    exif[274] = 6  # a quarter
    (folder / "shot_11.png").unlink()
    Image.fromarray(image_at(1)).save(folder / "shot_11.jpg", exif=exif)


def sound(path):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(8000))


def colours(path):
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels.reshape(-1, 3)[:300] = [(k % 256, k // 256 + 1, 7) for k in range(300)]
    Image.fromarray(pixels).save(path)


DEEP = (np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) * 20).astype(np.uint16)
FRAMES = {  # what happens to the second frame -> what is said
    "16 bits": (lambda f: Image.fromarray(DEEP).save(f / "shot_11.png"), "more than 8 bits per channel"),
    "another size": (lambda f: Image.fromarray(image_at(1)[:-1]).save(f / "shot_11.png"), "64x39 pixels"),
    "turned by its EXIF data": (turned, "is 40x64 pixels"),
    "cut off": (lambda f: (f / "shot_11.png").write_bytes((f / "shot_11.png").read_bytes()[:300]), "truncated"),
    "text": (lambda f: (f / "shot_11.png").write_text("hello"), "the file is damaged or no image"),
    "none at all": (lambda f: [path.unlink() for path in f.glob("*")], "no frames; .jpg, .png or .bmp"),
    "two of one name": (lambda f: Image.fromarray(image_at(1)).save(f / "shot_11.jpg"), "two frames are named shot_11"),
}
MASKS = {
    "m.jpg": (lambda p: Image.fromarray(ids_at(0)).save(p), "a mask stored as JPEG, which blurs ids"),
    "16.png": (lambda p: Image.fromarray(ids_at(0).astype(np.uint16) * 300).save(p), "ids from 0 to 300"),
    "moving.gif": (
        lambda p: Image.fromarray(ids_at(0)).save(p, save_all=True, append_images=[Image.fromarray(ids_at(4))]),
        "a mask of several pictures",
    ),
    "300.png": (colours, "300 values or colours besides black"),
    "cut.png": (lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40)), "this mask cannot be read"),
    "none.png": (lambda p: None, "this mask is missing"),
}
VIDEOS = {
    "sound.wav": (sound, "no video in this file, only audio"),
    "empty.mp4": (lambda p: p.write_bytes(b""), "cannot be read as a video"),
    "page.mp4": (lambda p: p.write_text("<html>not found</html>"), "cannot be read as a video"),
}


@pytest.mark.parametrize("name", [*FRAMES, *MASKS, *VIDEOS])
def test_wrong_files_of_users_are_told_before_long_work(tmp_path, clip, capsys, learner_file, name):
    first, video = tmp_path / "first ü.png", clip
    write_mask(first, ids_at(0))
    change, told = {**FRAMES, **MASKS, **VIDEOS}[name]
    if name in FRAMES:
        change(clip)
    elif name in MASKS:
        change(first := tmp_path / name)
    else:
        pytest.importorskip("av")
        change(video := tmp_path / name)
    code = run(f"video='{video}'", f"mask='{first}'", f"learner={learner_file}", "iters=1", f"out={tmp_path / 'out'}")
    said = capsys.readouterr().err
    assert code == 2 and told in said, said
    assert not (tmp_path / "out").exists()
