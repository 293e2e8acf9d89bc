"""Files that are no learner and no weights: what they are is said, and what to do."""

from __future__ import annotations

import argparse
import gzip
import io
import pickle
import shlex
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from eosvos.errors import UserError
from eosvos.meta.learner import SHIPPED, Learner
from eosvos.models.pretrained.convert import read
from eosvos.models.pretrained.files import open_file

WEIGHTS = {"conv1.weight": torch.ones(2, 3)}


def content(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "torch":
        torch.save(WEIGHTS, buffer)
    elif kind == "old torch":
        torch.save(WEIGHTS, buffer, _use_new_zipfile_serialization=False)
    elif kind == "pickle":
        buffer.write(pickle.dumps({"a": np.ones(2)}))
    elif kind == "png":
        Image.new("RGB", (4, 4)).save(buffer, "PNG")
    elif kind == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("learner.safetensors", b"x")
    elif kind == "npz":
        np.savez(buffer, a=np.ones(2))
    else:
        buffer.write(
            {
                "html": b"\n<!DOCTYPE html><html><body>404",
                "gz": gzip.compress(b"x"),
                "?": b"\x07\xee",
                "empty": b"",
                "zeros": b"\0" * 99,
                "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
                "text": b"lr: 0.1\n",
            }[kind]
        )
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "what", "weights"),
    [
        ("torch", "a file of torch.save", True),
        ("old torch", "a file of torch.save", True),
        ("pickle", "a pickle", True),
        ("png", "an image (PNG)", False),
        ("zip", "a zip archive; unpack it", False),
        ("npz", "a NumPy archive", False),
        ("html", "an HTML or XML page, as a failed download leaves; fetch it again", False),
        ("empty", "empty", False),
        ("gz", "packed with gzip; unpack it", False),
        ("lfs", "the pointer of Git LFS", False),
        ("zeros", "nothing but zeros", False),
        ("text", "a text that begins with 'lr: 0.1'", False),
        ("?", "of no known kind", False),
    ],
)
def test_what_is_no_learner_is_called_what_it_is(tmp_path, kind, what, weights):
    path = tmp_path / "file"
    path.write_bytes(content(kind))
    with pytest.raises(UserError) as caught:
        Learner.load(path)
    assert f"learner {path}: is {what}" in str(caught.value)
    assert (f"meta_train init={path}" in str(caught.value)) == weights
    if weights:
        assert open_file(path)[0]
    else:
        with pytest.raises(UserError) as caught:
            open_file(path)
        assert f"init={path}: is {what}" in str(caught.value) and "expected one of: torchvision's" in str(caught.value)


def test_safetensors_and_folders(tmp_path):
    save_file(WEIGHTS, tmp_path / "other.safetensors")
    whole = SHIPPED.read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "head.safetensors").write_bytes(whole[:100])
    for name, said in (
        ("other.safetensors", "a safetensors file of other weights (format"),
        ("cut.safetensors", f"truncated: {len(whole) // 2} of {len(whole)} bytes are there; fetch or copy it again"),
        ("head.safetensors", "truncated within its header"),
        ("", "a folder; give a file in it: cut.safetensors, head.safetensors, other.safetensors"),
    ):
        with pytest.raises(UserError, match=said.replace("(", "\\(")):
            Learner.load(tmp_path / name)
        if name != "other.safetensors":
            with pytest.raises(UserError, match=said.replace("(", "\\(")):
                open_file(tmp_path / name)


@pytest.mark.parametrize("new", [True, False])
def test_numpy_numbers_beside_the_weights_are_read(tmp_path, new):
    more = {"best": np.float64(0.5), "steps": np.int64(7), "curve": np.arange(3.0), "name": np.str_("x")}
    torch.save({"state_dict": WEIGHTS, **more}, tmp_path / "x.pth", _use_new_zipfile_serialization=new)
    found, _ = open_file(tmp_path / "x.pth")
    assert found["best"] == 0.5 and found["steps"] == 7 and found["curve"].tolist() == [0, 1, 2]
    assert torch.equal(found["state_dict"]["conv1.weight"], WEIGHTS["conv1.weight"])


@pytest.mark.parametrize("writes", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_what_would_be_executed_is_refused_with_a_command_that_mends_it(tmp_path, monkeypatch, writes):
    class_of_args = argparse.Namespace(lr=1)
    weights = {"conv1.weight": np.ones((2, 3))} if writes is not torch.save else WEIGHTS
    path = tmp_path / "my file.pth"
    writes({"state_dict": weights, "args": class_of_args, "epoch": 3}, path)
    with pytest.raises(UserError, match="names argparse.Namespace, which it would execute; refused") as caught:
        read(str(path))
    command = str(caught.value).partition("installed:\n")[2].partition("\nand give init=")[0]
    _, dash_c, program, *files = shlex.split(command)
    assert dash_c == "-c" and files[0] == str(path)
    monkeypatch.setattr(sys, "argv", ["-c", *files])
    exec(program, {})
    found, _ = open_file(Path(files[1]))
    assert list(found) == ["state_dict"] and found["state_dict"]["conv1.weight"].tolist() == [[1] * 3] * 2
