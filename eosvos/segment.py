"""python -m eosvos.segment: segment a video of one's own from masks of some of its frames."""

from __future__ import annotations

import sys

from eosvos.cli import usage

if __name__ == "__main__":  # before torch is loaded, which takes seconds
    usage.answer("segment")

import time
from functools import partial
from pathlib import Path
from typing import Any

from eosvos.cli import build_method, devices, hydra_app, overrides, run_names, schema, validate
from eosvos.cli.fingerprint import own_fingerprint
from eosvos.data.image_files import several
from eosvos.data.levels import parse_levels
from eosvos.data.readers.user_video import annotated_frames, open_own
from eosvos.evaluation import run_folder
from eosvos.files import write_text
from eosvos.inference import segment_video
from eosvos.inference.export import OUTPUTS
from eosvos.progress import Frames


def segment(settings: schema.SegmentConfig) -> None:
    began = time.monotonic()
    validate.check(settings)
    devices.use_threads(settings.threads)
    device = devices.device_of(settings.device)
    path, learner = build_method.evaluation_learner(settings)
    settings = build_method.with_steps(settings, learner)
    sequence, rate = open_own(
        settings.video or "",
        mask=settings.mask,
        masks=settings.masks,
        binary=settings.binary,
        absent=settings.absent,
        levels=parse_levels(settings.levels),
    )
    fingerprint = build_method.method_fingerprint(settings, path, device) | own_fingerprint(settings, sequence)
    default = run_names.RUNS / "segment" / sequence.name
    run: dict[str, Any] = {"seed": settings.seed, "resume": settings.resume, "sequences": [sequence.name]}
    if settings.out:
        out = Path(settings.out)
        run_folder.claim(out, fingerprint, **run)
    else:
        out = run_folder.claim_free(default, fingerprint, **run)
    write_text(out / "config.yaml", overrides.as_yaml(settings))
    annotated = annotated_frames(sequence)
    names = [sequence.frame_names[i] for i in annotated]
    many = len(sequence) if sequence.counted else "many"
    begins = (
        f"{out}: {many} frames of {sequence.size[1]}x{sequence.size[0]}, objects {sorted(sequence.first_frame)} "
        f"given on frame {several(names)}; {settings.method}" + ("" if path is None else f" with {path}")
    )
    print(begins, file=sys.stderr, flush=True)
    done = out / "finished"
    if not (done.exists() and all((out / "masks" / f"{name}.png").is_file() for name in sequence.frame_names)):
        progress = Frames(
            segment_video.total(sequence) if sequence.counted else None, "masks", partial(segment_video.total, sequence)
        )
        make = partial(build_method.MakeMethod(settings, learner, device), settings.seed, progress.tuning)
        try:
            segment_video.segment(make, sequence, out, device=device, tick=progress)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{out}: interrupted; the same command continues") from None
        finally:
            progress.close()
        write_text(done, "")
    for kind in dict.fromkeys(settings.outputs):
        progress = Frames(len(sequence), kind)
        written = OUTPUTS[kind](sequence, out / "masks", out, rate, progress)
        progress.close()
        print(f"{kind}:".ljust(9), written)
    if (index := segment_video.suggested(sequence, out, annotated)) is not None:
        print(f"next:     a mask of frame {sequence.frame_names[index]} would help most")
    print(f"masks:    {out / 'masks'}\n{len(sequence)} frames in {time.monotonic() - began:.1f} s")


def main(arguments: list[str] | None = None) -> int:
    return hydra_app.run("segment", segment, arguments)


if __name__ == "__main__":
    sys.exit(main())
