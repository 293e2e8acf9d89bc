"""Published weights: every key finds its place or is named, and the networks compute what the weights were made for."""

from __future__ import annotations

import copy
import os
import pickle
import urllib.error

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from published_files import authors, coco_v1, coco_v2, constants, detectron2_gn, shapes_of
from safetensors.torch import save_file
from torchvision.models import resnet18, resnet50

from eosvos.errors import UserError
from eosvos.models.mask_rcnn import build
from eosvos.models.pretrained import convert, files, group_norm, load

SMALL = {"short": 64, "long": 96}
CLASSES = (
    "cls_score.weight",
    "cls_score.bias",
    "bbox_pred.weight",
    "bbox_pred.bias",
    "mask_fcn_logits.weight",
    "mask_fcn_logits.bias",
)


def saved(tmp_path, state, **options):
    path = tmp_path / "any.name"
    torch.save(state, path, **options)
    return str(path)


def loaded(path, norm="copy", **more):
    """The file in a network of its form, with the report, after a check that all of the file is accounted for."""
    found = convert.read(path)
    with torch.device("cpu" if more else "meta"):  # without images nothing is computed: no need of random weights
        model = build(**found.settings, **SMALL)
    report = load.load(model if more else model.to_empty(device="cpu"), found, norm=norm, **more)
    assert set(report.loaded) | set(report.converted) | set(report.new) == set(report.sizes)
    assert set(report.sizes) == {name for name, _ in model.named_parameters()}
    return model, report


def keys_named(report):
    taken = {how.removeprefix("from ").split(":")[0] for how in [*report.loaded.values(), *report.converted.values()]}
    return taken | set(report.used) | set(report.skipped)


def ends(names, endings):
    return len(names) == len(endings) and all(any(name.endswith(e) for name in names) for e in endings)


@pytest.mark.parametrize(("make", "version"), [(coco_v1, 1), (coco_v2, 2)])
def test_torchvisions_mask_rcnn_but_for_its_classes(tmp_path, make, version):
    state = make()
    model, report = loaded(saved(tmp_path, state))
    assert f"v{version}" in report.kind and keys_named(report) == set(state)
    assert ends(report.new, CLASSES)
    assert ends([key for key, why in report.skipped.items() if "shape (91" in why or "shape (364" in why], CLASSES)
    assert model.spec["box_convs"] == (4 if version == 2 else 0) and model.spec["rpn_convs"] == version
    assert model.spec["head_norm"] == (version == 2) and not model.spec["stride_first"]
    parameters = dict(model.named_parameters())
    for name, how in (report.loaded | report.converted).items():
        assert torch.equal(parameters[name], state[how.removeprefix("from ").split(":")[0]]), name
    assert "roi_heads.mask_predictor.conv5_mask.weight" in report.loaded


def test_by_name_through_torchvisions_own_loader(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    state = coco_v1()
    torch.save(state, tmp_path / "checkpoints" / "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth")
    assert convert.read("torchvision:maskrcnn_resnet50_fpn").kind.endswith("v1")
    with pytest.raises(UserError, match="torchvision:maskrcnn_resnet50_fpn_v2, torchvision:resnet50"):
        convert.read("torchvision:resnet51")

    def unreachable(*args, **kwargs):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(UserError, match=r"no route.*resnet18-f37072fd.pth elsewhere"):
        convert.read("torchvision:resnet18")


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_every_pickle_protocol(tmp_path, protocol):
    path = tmp_path / "x.pkl"
    arrays = {"a": np.arange(6.0, dtype=np.float32).reshape(2, 3), "b": np.asfortranarray(np.ones((2, 3), np.float16))}
    arrays |= {"c": np.arange(3, dtype=">f4"), "d": np.array(["x"]), "e": np.float32(1)}
    path.write_bytes(pickle.dumps(arrays, protocol))
    found, other = files.tensors_of(files.open_file(path)[0])
    assert other == ["d", "e"] and all(found[k].tolist() == arrays[k].tolist() for k in "abc")


def test_detectron2s_group_norm_model(tmp_path):
    state = detectron2_gn()
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"model": state, "__author__": "Detectron2 Model Zoo"}))
    model, report = loaded(str(path))
    assert keys_named(report) == set(state)
    assert set(report.skipped) == {
        k for k in state if k.endswith(CLASSES) or "mask_head.predictor" in k or "cell_anchors" in k
    } - {"roi_heads.mask_head.predictor"}
    assert ends(report.new, CLASSES) and not model.spec["stride_first"] and model.spec["box_convs"] == 4
    taken = {
        "backbone.body.layer3.5.bn2.bias": "backbone.bottom_up.res4.5.conv2.norm.bias",
        "backbone.body.layer1.0.downsample.0.weight": "backbone.bottom_up.res2.0.shortcut.weight",
        "backbone.fpn.layer_blocks.3.1.weight": "backbone.fpn_output5.norm.weight",
        "roi_heads.box_head.3.0.weight": "roi_heads.box_head.conv4.weight",
        "roi_heads.box_head.5.bias": "roi_heads.box_head.fc1.bias",
        "roi_heads.mask_head.0.1.bias": "roi_heads.mask_head.mask_fcn1.norm.bias",
    }
    for name, key in taken.items():
        assert torch.equal(model.get_parameter(name), torch.from_numpy(state[key])), name


def test_detectron2s_pixels_become_ours(tmp_path):
    state = detectron2_gn()
    stem = torch.randn(64, 3, 7, 7)
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"model": state | {"backbone.bottom_up.stem.conv1.weight": stem.numpy()}}))
    ours = convert.read(str(path)).tensors["backbone.body.conv1.weight"]
    image = torch.rand(1, 3, 20, 30)  # RGB
    theirs = 255 * image.flip(1) - torch.tensor([103.53, 116.28, 123.675])[:, None, None]
    normed = (image - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
    assert torch.allclose(F.conv2d(normed, ours, padding=3), F.conv2d(theirs, stem, padding=3), rtol=1e-4, atol=0.02)


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("wrap", [lambda e: {"model": e}, lambda e: e, lambda e: {"model": {"a": np.array([e])}}])
def test_a_pickle_that_wants_to_execute_is_refused(tmp_path, wrap):
    path = tmp_path / "evil.pkl"
    for write in (
        lambda v: path.write_bytes(pickle.dumps(v)),
        lambda v: torch.save(v, path),
        lambda v: torch.save(v, path, _use_new_zipfile_serialization=False),
    ):
        write(wrap(Evil(tmp_path / "executed")))
        with pytest.raises(UserError, match=r"mkdir.*refused|ObjectDType.*refused"):
            convert.read(str(path))
        assert not (tmp_path / "executed").exists()


def test_the_authors_checkpoints_give_rates_too(tmp_path):
    state = authors()
    stored = state["meta_optim_state_dict"]
    assert len(stored) == 402
    path = saved(tmp_path, state, _use_new_zipfile_serialization=False)
    model, report = loaded(path)
    assert not report.new and not report.skipped and len(report.loaded) == 201
    found = convert.read(path)
    assert found.rates.keys() == report.loaded.keys() and sum(r.numel() for r in found.rates.values()) == 90_998
    name = "roi_heads.mask_predictor.conv5_mask.weight"
    assert found.rates[name].shape == (256, 1, 1, 1)  # of the inputs, as they were learned
    assert torch.equal(found.rates[name], stored["log_init_lr_roi_heads-mask_predictor-conv5_mask-weight"])
    assert torch.equal(model.get_parameter("rpn.head.conv.0.0.bias"), stored["model_init_rpn-head-conv-bias"])
    del stored["log_init_lr_rpn-head-conv-bias"]
    with pytest.raises(UserError, match="model_init_rpn-head-conv-bias has no log_init_lr_"):
        convert.read(saved(tmp_path, state))


def trained_like(network, images):
    """With statistics as after a training: of real activations, with an affine of every kind."""
    torch.manual_seed(1)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None
            torch.nn.init.uniform_(layer.weight, 0.2, 1.5)
            torch.nn.init.normal_(layer.bias, 0, 0.5)
    network.train()
    with torch.no_grad():
        network(torch.cat([images, images.flip(3), 0.5 * images]))
    return network.eval()


@pytest.fixture(scope="module")
def images():
    noise = torch.rand(12, 3, 9, 13, generator=torch.Generator().manual_seed(0))
    return F.interpolate(noise, (64, 96), mode="bicubic").clamp(0, 1)


def stages(body, x):
    x = body.maxpool(body.relu(body.bn1(body.conv1(x))))
    found = []
    for layer in (body.layer1, body.layer2, body.layer3, body.layer4):
        x = layer(x)
        found.append(x)
    return found


@torch.no_grad()
@pytest.mark.parametrize("kind", ["folded", "resnet50"])
def test_matched_norms_keep_the_features(tmp_path, images, kind):
    mean, std = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    normed = (images - mean) / std
    network = trained_like(resnet50() if kind == "resnet50" else resnet18(), normed)
    wanted = stages(network, normed[8:])
    state = network.state_dict()
    if kind == "folded":
        state = fold(state)
    path = saved(tmp_path, state)
    errors = {}
    for norm in load.NORMS:
        torch.manual_seed(0)
        model, report = loaded(path, norm, images=list(images), aside=4)
        assert keys_named(report) == set(state)
        stage = stages(model.backbone.body, normed[8:])
        errors[norm] = [float((a - b).norm() / b.norm()) for a, b in zip(stage, wanted, strict=True)]
        said = group_norm.fidelity(model, convert.read(path).affines, list(images[8:]))
        assert list(said.values()) == pytest.approx(errors[norm], rel=1e-3)  # its reference is torchvision's network
    assert all(match < 0.8 * copied for match, copied in zip(errors["match"], errors["copy"], strict=True)), errors
    assert report.skipped.keys() >= {"fc.weight", "fc.bias"} if kind != "folded" else "folded" in report.kind


def fold(state):
    folded = {}
    for key, weight in state.items():
        if "conv" in key or "downsample.0" in key:
            norm = key.replace("conv", "bn").replace("downsample.0", "downsample.1").removesuffix(".weight")
            scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + 1e-5).sqrt()
            folded[key] = weight * scale[:, None, None, None]
            folded[key.replace(".weight", ".bias")] = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
    return folded


@torch.no_grad()
def test_the_fit_is_exact_where_a_group_norm_can_be_a_batch_norm():
    """One image and groups of one channel: the two differ by an affine map, in every layer, pyramid and heads too."""
    torch.manual_seed(0)
    model = build("tiny", **SMALL, widths=(16, 16, 16, 16), groups=16, fpn=16, hidden=16)
    norms = [name for name, layer in model.named_modules() if isinstance(layer, torch.nn.GroupNorm)]
    affines = {name: (torch.rand(16) + 0.5, torch.randn(16)) for name in norms if "mask_head" not in name}
    image = [torch.rand(3, 64, 96)]
    before = group_norm.fidelity(model, affines, image)
    group_norm.calibrate(model, affines, image)
    after = group_norm.fidelity(model, affines, image)
    assert min(before.values()) > 0.1 and max(after.values()) < 1e-3
    assert not any(layer._forward_hooks for layer in model.modules())


def test_the_stride_may_stand_in_the_first_convolution(tmp_path):
    with torch.device("meta"):
        model = build("resnet50", stride_first=True)
    block = model.backbone.body.layer2[0]
    assert (block.conv1.stride, block.conv2.stride, block.conv3.stride) == ((2, 2), (1, 1), (1, 1))
    assert model.backbone.body.layer1[0].conv1.stride == (1, 1)
    state = {
        k: v.clone() for k, v in constants({k: v for k, v in shapes_of(resnet50).items() if "layer4" not in k}).items()
    }
    save_file(state, tmp_path / "a", metadata={"form": "stride 2 in the first 1x1 conv of each stage; RGB"})
    assert convert.read(str(tmp_path / "a")).settings["stride_first"]
    save_file(state, tmp_path / "b")
    assert "stride_first" not in convert.read(str(tmp_path / "b")).settings


def test_a_network_of_another_form_is_said(tmp_path):
    found = convert.read(saved(tmp_path, coco_v2()))
    with torch.device("meta"):
        model = build("resnet50", **SMALL, box_convs=0)
    report = load.load(model.to_empty(device="cpu"), found, norm="copy")
    assert "model.box_convs=4; the network has 0" in str(report)
    assert {"roi_heads.box_head.0.0.weight", "roi_heads.box_head.5.weight"} <= report.skipped.keys()
    assert {"roi_heads.box_head.fc6.weight", "backbone.fpn.inner_blocks.0.0.bias"} <= report.new.keys()
    assert "roi_heads.box_head.fc6.weight: not in the file" in report.full()


def broken(path, data):
    path.write_bytes(data)
    return str(path)


def test_files_that_are_no_weights(tmp_path):
    path = tmp_path / "x.pth"
    good = tmp_path / "good"
    torch.save(resnet18().state_dict(), good)
    for state, said in (
        ({"weight": torch.ones(3)}, "no known network; its keys begin with weight"),
        ([1, 2], "holds a list"),
        (constants({k: tuple(n + 1 for n in s) for k, s in shapes_of(resnet18).items()}), "nothing fits"),
    ):
        torch.save(state, path)
        with pytest.raises(UserError, match=said):
            loaded(str(path))
    for data in (b"", b"hello", good.read_bytes()[:9000], b"\x80\x04", pickle.dumps({"model": np.ones(3)})[:60]):
        with pytest.raises(UserError, match=r"x\.pth: "):
            convert.read(broken(path, data))
    with pytest.raises(UserError, match="23 bottlenecks"):
        torch.save(
            {
                "conv1.weight": torch.ones(1),
                "layer1.0.conv1.weight": torch.ones(1),
                "layer1.0.conv3.weight": torch.ones(1),
                **{f"layer3.{i}.conv1.weight": torch.ones(1) for i in range(23)},
            },
            path,
        )
        convert.read(str(path))


def test_the_digest_is_of_the_tensors(tmp_path):
    state = copy.deepcopy(dict(resnet18().state_dict()))
    first = convert.read(saved(tmp_path, state)).digest()
    assert convert.read(saved(tmp_path, {"model": state})).digest() == first
    state["layer1.0.bn1.running_mean"][3] += 1
    assert convert.read(saved(tmp_path, state)).digest() != first


@pytest.mark.parametrize(
    ("file", "size", "norms"),
    [("resnet18_imagenet_bnfolded", "resnet18", 16), ("resnet50_imagenet_conv1-layer3", "resnet50", 44)],
)
def test_the_real_files_on_real_images(shared_data, file, size, norms):
    from eosvos.data.images import read_image

    folder = shared_data / "ECSSD" / "images"
    pictures = [read_image(p)[:120, :180] for p in sorted(folder.glob("*.jpg"))[:60:5]]
    pictures = [torch.from_numpy(p).permute(2, 0, 1).float() / 255 for p in pictures]
    path = shared_data / "weights" / f"{file}.safetensors"
    model, report = loaded(str(path), "match", images=pictures, aside=4)
    assert model.spec["size"] == size and model.spec["stride_first"] == (size == "resnet50")
    assert f"{norms} batch norms" in str(report)
    affines = convert.read(str(path)).affines
    match = group_norm.fidelity(model, affines, pictures[8:])
    load.load(model, convert.read(str(path)), norm="copy")
    copied = group_norm.fidelity(model, affines, pictures[8:])
    assert list(match) == ["layer1", "layer2", "layer3"]
    assert all(match[stage] < 0.7 * copied[stage] for stage in match), (match, copied)


def test_every_known_name_is_torchvisions():
    for network, member in files.NAMES.values():
        assert files.get_model_weights(network)[member].url.endswith(".pth")
