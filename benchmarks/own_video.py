"""What a user of a video of their own waits for, and whether memory stays bounded.

    python benchmarks/own_video.py first --data-root /data/DAVIS-2016
    python benchmarks/own_video.py memory [--frames 10000]
    python benchmarks/own_video.py opening
    python benchmarks/own_video.py objects --data-root /data/DAVIS-2016

first: seconds to the first mask, of the command and of Segmenter.start. memory: resident, at frame 500 and at the end.
opening: of files of 1 and of 120 minutes, seconds to the first frame, to the command's first mask, and until all frames
are counted. objects: seconds a frame for 1 object and for 5.
T=10, the learner that ships, the CPU. `first` is of a 480p clip, the command from its cold start: imports included.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from eosvos.data.sequence import VideoSequence


def first(root: Path) -> None:
    from eosvos import Segmenter, open_davis

    video = open_davis(root, year=2016, split="train")[0]
    frames, mask = root / "JPEGImages" / "480p" / video.name, root / "Annotations" / "480p" / video.name
    with tempfile.TemporaryDirectory(prefix="eosvos-") as out:
        began = time.perf_counter()
        with _command(f"video={frames}", f"mask={mask}/{video.frame_names[0]}.png", out=Path(out, "run")):
            print(f"command, from its start to the first mask on disk: {time.perf_counter() - began:.2f} s")
    segmenter, image, ids = Segmenter(), video.read_frame(0), video.mask(0)
    assert ids is not None
    for attempt in ("first", "second"):
        began = time.perf_counter()
        segmenter.start(image, (ids > 0).astype(np.uint8))
        print(f"Segmenter.start, {attempt} time in the process: {time.perf_counter() - began:.2f} s")


def memory(frames: int) -> None:
    from eosvos import Segmenter
    from eosvos.data.synthetic.videos import held_out

    video = held_out("test", count=1, size=(240, 432), length=48)[0]
    kept = [(video.read_frame(index), video.mask(index)) for index in range(len(video))]
    there = sorted(video.new_objects(0))
    segmenter, at_500 = Segmenter(), 0.0
    mask = kept[0][1]
    assert mask is not None
    segmenter.start(kept[0][0], np.where(np.isin(mask, there), mask, 0))
    forth_and_back = cycle([*range(1, len(kept)), *range(len(kept) - 2, -1, -1)])
    for number, index in enumerate(islice(forth_and_back, frames), 1):
        segmenter.step(kept[index][0])
        if number == 500:
            at_500 = _resident()
        if number % 1000 == 0:
            print(f"frame {number}: {_resident():.1f} MiB", flush=True)
    print(f"frame 500: {at_500:.1f} MiB; frame {frames}: {_resident():.1f} MiB, {_resident() / at_500 - 1:+.2%}")


def opening(rounds: int = 3) -> None:
    from eosvos.data.masks import write_mask
    from eosvos.data.synthetic.videos import held_out
    from eosvos.data.video.open import open_video
    from eosvos.page.sessions import Sessions

    clip = held_out("test", count=1, size=(240, 432), length=48)[0]
    mask = clip.mask(0)
    assert mask is not None
    with tempfile.TemporaryDirectory(prefix="eosvos-") as name:
        folder = Path(name)
        write_mask(folder / "first.png", np.where(np.isin(mask, sorted(clip.new_objects(0))), mask, 0))

        def command(path: Path) -> None:
            shutil.rmtree(folder / "run", ignore_errors=True)
            with _command(f"video={path}", f"mask={folder}/first.png", out=folder / "run"):
                pass

        def page(path: Path) -> VideoSequence:
            video = Sessions(Path(tempfile.mkdtemp(dir=folder))).refer(path).frames
            video.read_frame(0)
            return video

        def counted(path: Path) -> None:
            len(open_video(path))

        ways = {
            "first frame": lambda path: open_video(path).read_frame(0),
            "page's first frame": page,
            "command's first mask": command,
            "all frames counted": counted,
        }
        for suffix in (".mp4", ".mkv"):
            films = [folder / f"{minutes}{suffix}" for minutes in (1, 120)]
            _write_films(clip, *films)
            sizes = [f"{path.stat().st_size / 2**20:.0f} MiB" for path in films]
            print(
                f"{suffix} of 1 and 120 minutes, {' and '.join(sizes)}, not in memory; seconds, of {rounds}:",
                flush=True,
            )
            for what, way in ways.items():
                seconds: dict[Path, list[float]] = {path: [] for path in films}
                for path in films * rounds:
                    _forget(path)
                    began = time.perf_counter()
                    video = way(path)
                    seconds[path].append(time.perf_counter() - began)
                    if isinstance(video, VideoSequence):
                        len(video)  # the page counts by a thread: not while the next is measured
                short, long = (statistics.median(values) for values in seconds.values())
                print(f"  {what}: {short:.3f} and {long:.3f}, {long / short:.2f} times", flush=True)


def objects(root: Path) -> None:
    from eosvos import Segmenter, open_davis

    video = open_davis(root, year=2016, split="train")[0]
    ids = video.mask(0)
    assert ids is not None
    rows, columns = np.nonzero(ids)
    parts = np.zeros_like(ids)
    edges = np.quantile(columns, np.linspace(0, 1, 6))
    parts[rows, columns] = np.clip(np.searchsorted(edges, columns, side="right"), 1, 5)  # the object in five
    for mask in ((ids > 0).astype(np.uint8), parts) * 2:
        segmenter = Segmenter()
        began = time.perf_counter()
        segmenter.start(video.read_frame(0), mask)
        started = time.perf_counter()
        for index in range(1, 31):
            segmenter.step(video.read_frame(index))
        count = len(segmenter.object_ids)
        print(f"{count} objects: start {started - began:.2f} s, {(time.perf_counter() - started) / 30:.4f} s a frame")


@contextmanager
def _command(*arguments: str, out: Path) -> Iterator[None]:
    """Runs `eosvos.segment`; begins when its first mask is on the disk, and ends with the process."""
    line = [sys.executable, "-m", "eosvos.segment", *arguments, "iters=10", "device=cpu", "outputs=[]", f"out={out}"]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(out.glob("masks/*.png")):
        if process.poll() is not None:
            sys.exit(f"the command ended with {process.returncode} without a mask")
        time.sleep(0.01)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _write_films(clip: VideoSequence, short: Path, long: Path) -> None:
    """A minute at 25 frames per second, and the same packets 120 times over."""
    import av

    from eosvos.data.video.write import write_video

    there = [clip.read_frame(index) for index in range(len(clip))]
    write_video(short, islice(cycle([*there, *there[-2:0:-1]]), 1500), 25)
    with av.open(str(short)) as source, av.open(str(long), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        ticks = round(60 / source.streams.video[0].time_base)
        for minute in range(120):
            source.seek(0)
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    packet.pts, packet.dts = packet.pts + minute * ticks, packet.dts + minute * ticks
                    target.mux(packet)


def _forget(path: Path) -> None:
    """Have a file read from the disk, and counted, again."""
    os.utime(path)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _resident() -> float:
    """MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["first", "memory", "opening", "objects"])
    parser.add_argument("--data-root", type=Path, help="holds JPEGImages and Annotations")
    parser.add_argument("--frames", type=int, default=10000)
    given = parser.parse_args()
    if given.what in ("first", "objects"):
        if given.data_root is None:
            parser.error(f"{given.what} needs --data-root")
        {"first": first, "objects": objects}[given.what](given.data_root)
    elif given.what == "memory":
        memory(given.frames)
    else:
        opening()


if __name__ == "__main__":
    main()
