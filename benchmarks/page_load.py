"""The page's server under many sessions at once, and under requests at random for as long as asked.

    python benchmarks/page_load.py [--sessions 50] [--seconds 600] [--seed 0] [--keep FOLDER]

Starts `python -m eosvos.app` in a temporary folder, with a tiny network that was never trained: what is tested is the
server. So many sessions are driven side by side through upload, painting, run, correction, second run and export, each
with frames and masks of its own, which must come back bit for bit. Then requests come at random (tests/page/
odd_requests.py): valid ones to some sessions, changed ones, cut off, too long, nonsense, and changes from pages of
other sites to the sessions driven before, which must stay as they are. In the end the server is killed and started
again. Ends with status 1 at any status of 500 and above, a traceback in the server's log, or anything lost.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "page")]

from crowd import check, crowd  # noqa: E402
from odd_requests import Fuzz, fuzz  # noqa: E402
from pages import Client  # noqa: E402

from eosvos.meta.learner import Learner  # noqa: E402
from eosvos.models import mask_rcnn  # noqa: E402

MIB = 1  # of an upload at most


@contextmanager
def server(folder: Path, log: Path) -> Iterator[tuple[Client, int]]:
    """A server in a process of its own, which is killed in the end: its client and process id."""
    line = [sys.executable, "-m", "eosvos.app", f"folder={folder / 'app'}", "port=0", f"upload={MIB}", "device=cpu"]
    line += [f"learner={folder / 'learner.safetensors'}", "iters=1"]
    with log.open("ab") as errors, subprocess.Popen(line, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline()
        found = re.match(r"http://127\.0\.0\.1:(\d+)/", address)
        assert found, (address, log.read_text())
        yield Client(int(found[1])), process.pid
        process.send_signal(signal.SIGKILL)


def held(pid: int) -> str:
    """What a process has of the system."""
    status = Path(f"/proc/{pid}/status").read_text()
    memory, threads = (int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("VmRSS", "Threads"))
    return f"{memory / 1024:.0f} MiB, {threads} threads, {len(os.listdir(f'/proc/{pid}/fd'))} open files"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="where the log, and requests that did harm, are kept")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, keep = Path(name), given.keep or Path(name) / "kept"
        keep.mkdir(parents=True, exist_ok=True)
        log = keep / "server.log"
        log.write_bytes(b"")
        torch.manual_seed(0)
        model = mask_rcnn.build("tiny", short=64, long=112, score=0.0)
        Learner.create(model, 0.02, "neuron", {"model": model.spec}).save(folder / "learner.safetensors")
        with server(folder, log) as (client, pid):
            begin = time.monotonic()
            kept = crowd(client, given.sessions)
            print(f"{given.sessions} sessions side by side: {time.monotonic() - begin:.0f} s; {held(pid)}", flush=True)
            one = Fuzz(client.port, str(folder / "app"), [session.address for session in kept], MIB << 20)
            begin = time.monotonic()
            answered = fuzz(one, given.seed, seconds=given.seconds)
            spent = time.monotonic() - begin
            print(f"{answered.statuses.total()} requests at random: {spent:.0f} s; {held(pid)}", flush=True)
            for session in kept:
                check(client, session)
        with server(folder, log) as (client, _):
            for session in kept:
                check(client, session)
            there = {f"/api/sessions/{s['id']}" for s in client.get("/api/sessions")["sessions"]}
            lost = ({session.address for session in kept} - there) | (one.gone & there)
        kinds = sorted({kind for kind, _ in answered.statuses})
        statuses = sorted({status for _, status in answered.statuses})
        print("| |", " | ".join(str(status or "none") for status in statuses), "|")
        print("|---" * (len(statuses) + 1) + "|")
        for kind in kinds:
            print(f"| {kind} |", " | ".join(str(answered.statuses[kind, status]) for status in statuses), "|")
        tracebacks = log.read_text(errors="replace").count("Traceback")
        print(f"slowest answer {answered.slowest:.1f} s; {len(answered.faults)} faults, {tracebacks} tracebacks,")
        print(f"{len(lost)} sessions lost, or deleted and there again, after the server was killed and started again")
        for number, (told, content) in enumerate(answered.faults[:50]):
            print(f"  {told[:300]}")
            (keep / f"request-{number}").write_bytes(content)
    return int(bool(answered.faults or tracebacks or lost))


if __name__ == "__main__":
    sys.exit(main())
