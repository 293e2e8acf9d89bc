"""Importing the library, and calling it, changes nothing of the process that uses it."""

import subprocess
import sys

PROGRAM = """
import importlib, locale, logging, os, pkgutil, random, signal, sys, warnings
from pathlib import Path
import cv2, higher, hydra, matplotlib, numpy as np, pycocotools.mask, torch, torchvision, tqdm
import matplotlib.pyplot as plt
from PIL import Image, ImageFile
from torchvision.models import detection

cv2.setNumThreads(3)
torch.set_num_threads(2)
os.umask(0o027)
plt.switch_backend("svg")


def umask():
    return next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("Umask"))


def state():
    return {
        "threads": (cv2.getNumThreads(), torch.get_num_threads(), torch.get_num_interop_threads()), "umask": umask(),
        "random": (torch.random.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()),
        "torch": (torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()),
        "warnings": list(warnings.filters), "numpy": (np.geterr(), np.get_printoptions()),
        "logging": (logging.root.handlers[:], logging.root.level, logging.root.manager.disable),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)],
        "environment": dict(os.environ), "folder": os.getcwd(), "locale": locale.setlocale(locale.LC_ALL),
        "hooks": (sys.excepthook, sys.path[:], sys.argv[:], sys.getrecursionlimit(), sys.displayhook),
        "plots": (plt.get_backend(), plt.get_fignums(), dict(matplotlib.rcParams)),
        "images": (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES),
    }


def unchanged(what):
    after = state()
    for name in before:
        assert after[name] == before[name], (what, name, before[name], after[name])


before = state()
there = {name: sys.modules.get(name) for name in ("fcntl", "resource", "pwd", "grp", "termios")}
sys.modules.update(dict.fromkeys(there))  # to import one is an ImportError, as on Windows
import eosvos

for found in pkgutil.walk_packages(eosvos.__path__, "eosvos."):
    if not found.name.startswith("eosvos.page"):  # needs what may not be installed
        importlib.import_module(found.name)
        unchanged(found.name)
for name, module in there.items():
    del sys.modules[name]
    if module is not None:
        sys.modules[name] = module
from eosvos.data.synthetic.videos import held_out
from eosvos.methods.baselines import CopyFirst
from eosvos.data.mask_files.rle import rle_decode, rle_encode

mask = np.zeros((40, 64), bool)
mask[5:20, 5:25] = True
rle_decode(rle_encode(mask))
unchanged("rle")
segmenter = eosvos.Segmenter(iters=1)
frame = np.random.default_rng(0).integers(0, 255, (40, 64, 3), np.uint8)
cv2.setRNGSeed(7)
expected = cv2.randu(np.zeros(4), 0, 1).tolist()
cv2.setRNGSeed(7)
segmenter.start(frame, mask)
segmenter.step(frame)
segmenter.save(sys.argv[1] + "/state.safetensors")
unchanged("Segmenter")
assert cv2.randu(np.zeros(4), 0, 1).tolist() == expected
videos = held_out("test", count=1, size=(48, 64), length=4)
eosvos.evaluate(lambda seed: CopyFirst(), videos, sys.argv[1] + "/run", fingerprint={}, progress=False, overlay=True)
unchanged("evaluate")
from eosvos.plots import training_curves

Path(sys.argv[1], "log.jsonl").write_text('{"iteration": 0, "loss": 1.0}\\n{"iteration": 1, "loss": 0.5}\\n')
training_curves.curves(sys.argv[1] + "/log.jsonl", sys.argv[1] + "/curves.png")
unchanged("curves")
"""


def test_the_process_is_as_it_was(tmp_path):
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
