"""Read damaged masks, run-length files and videos for as long as asked: only the documented errors may come of it.

    python benchmarks/fuzz.py [--minutes 10] [--seed 0] [--kinds masks json values videos] [--keep FOLDER]

Valid small files of every form are changed in a few places (bits turned, numbers overwritten, parts cut, moved,
doubled, put in; JSON values replaced) and read as tests/data/mutants.py does. Each kind is read by a process of its
own, so that a crash is seen, too: with 2 GiB of memory at most beyond what it has when it begins, and 60 s for a file.
What goes wrong is told once for each place in the code, and its file is kept. Ends with status 1 if anything did.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from data.mutants import READERS, strategy, survives  # noqa: E402
from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402

BATCH, MEMORY, PATIENCE = 250, 2 * 2**30, 60


def read_batch(kind: str, number: int, folder: Path) -> dict[str, object]:
    """Read `BATCH` files; what came of it."""
    wrong: dict[str, list[object]] = {}
    done = {True: 0, False: 0}
    slowest = 0.0

    @seed(number)
    @settings(
        max_examples=BATCH,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy(kind, folder))
    def check(file: tuple[str, bytes]) -> None:
        nonlocal slowest
        (folder / f"current-{file[0]}").write_bytes(file[1])  # is left there by a crash
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        begin = time.process_time()
        try:
            done[survives(kind, folder, *file)] += 1
        except Exception as error:
            places = [f"{p.filename}:{p.lineno}" for p in traceback.extract_tb(error.__traceback__)[-3:]]
            key = f"{type(error).__name__} at {' < '.join(reversed(places))}"
            if key not in wrong:
                kept = folder / f"{kind}-{number}-{len(wrong)}-{file[0]}"
                kept.write_bytes(file[1])
                wrong[key] = [0, str(error)[:200], str(kept)]
            wrong[key][0] += 1  # type: ignore[operator]
        slowest = max(slowest, time.process_time() - begin)
        faulthandler.cancel_dump_traceback_later()
        (folder / f"current-{file[0]}").unlink()

    check()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"read": done[True], "refused": done[False], "slowest": slowest, "peak": peak, "wrong": wrong}


def child(kind: str, number: int, seconds: float, folder: Path) -> None:
    """Read batches for that long, and print a line of JSON for each."""
    warnings.simplefilter("ignore")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        print(json.dumps(read_batch(kind, number, folder)), flush=True)
        number += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=list(READERS), default=list(READERS))
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "eosvos-fuzz")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given_ = parser.parse_args()
    given_.keep.mkdir(parents=True, exist_ok=True)
    seconds = 60 * given_.minutes / len(given_.kinds)
    if given_.child:
        child(given_.kinds[0], given_.seed, seconds, given_.keep)
        return 0
    failed = False
    for kind in given_.kinds:
        total, wrong, number, end = {"read": 0, "refused": 0}, {}, given_.seed, time.monotonic() + seconds
        slowest = peak = 0.0
        while (left := end - time.monotonic()) > 0:
            command = [sys.executable, __file__, "--child", "--kinds", kind, "--seed", str(number), "--keep"]
            command += [str(given_.keep), "--minutes", str(left / 60)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    batch = json.loads(line)
                    number += 1
                    total = {key: total[key] + batch[key] for key in total}
                    slowest, peak = max(slowest, batch["slowest"]), max(peak, batch["peak"])
                    for key, (count, message, path) in batch["wrong"].items():
                        wrong.setdefault(key, [0, message, path])[0] += count
            if process.returncode:
                (left_over,) = list(given_.keep.glob("current-*"))[:1] or [None]
                kept = left_over and left_over.rename(given_.keep / f"{kind}-{number}-{left_over.name}")
                wrong[f"the process ended with status {process.returncode}"] = [1, "a crash, or more than 60 s", kept]
                number += 1
        print(
            f"{kind}: {sum(total.values())} files, {total['read']} read, {total['refused']} refused, {len(wrong)}"
            f" errors; slowest {slowest:.2f} s, {peak:.0f} MiB at most",
            flush=True,
        )
        for key, (count, message, path) in wrong.items():
            print(f"  {count} times {key}: {message} ({path})")
        failed = failed or bool(wrong)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
