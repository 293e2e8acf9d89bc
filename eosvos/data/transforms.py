"""Joint transforms of an image and its masks, from a picture of any size straight to the network's size.

Images come as float32 (3, H, W) RGB in [0, 1] (a tensor) or, which saves a conversion of the full picture, as uint8
(H, W, 3) RGB (an array, as `VideoSequence.read_frame` gives it); they leave as float32 (3, h, w). Boxes are not
transformed: they are computed from the masks that come out. Every draw comes from the given torch.Generator.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from torch import Tensor

from eosvos.data.window import Rectangle

PADDING = (0.485, 0.456, 0.406)
"""RGB of what lies outside the picture: ImageNet's mean, so the same as the zeros that torchvision pads with after the
normalisation. Mirroring the picture there would show copies of the object that the masks call background; smearing its
edge would do the same with objects that touch it."""

_LUMA = np.array([0.299, 0.587, 0.114])
_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
_RGB = np.linalg.inv(_YIQ)


def network_size(height: int, width: int, size: tuple[int, int]) -> tuple[int, int]:
    """(h, w) of a picture in the network, as torchvision's detection transform resizes it.

    `size` = (short, long): the short side becomes `short`, unless the long one would exceed `long`. A picture that has
    this size already keeps it.
    """
    short, long = size
    scale = min(short / min(height, width), long / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def fit(image: Tensor | np.ndarray, masks: Tensor | np.ndarray, *, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Resize an image and its bool masks (N, H, W) to the network's size: float32 (3, h, w), bool (N, h, w).

    The image is averaged over areas when it shrinks (torchvision's bilinear filter would alias), bilinear when it
    grows; masks take the nearest pixel. An object too small for any keeps the one under its middle: an empty mask would
    tell that it is not there.
    """
    source, layers = as_pixels(image), as_layers(masks)
    out = network_size(source.shape[0], source.shape[1], size)
    return as_tensor(_unit(_resize(source, *out))), _resize_masks(layers, *out)


def augment(
    image: Tensor | np.ndarray,
    masks: Tensor | np.ndarray,
    generator: torch.Generator,
    *,
    size: tuple[int, int] = (128, 224),
    scale: tuple[float, float] = (0.75, 1.25),
    rotation: float = 30.0,
    translation: float = 0.1,
    flip: bool = True,
    colour: float = 1.0,
    target: int | None = 0,
    window: Rectangle | None = None,
) -> tuple[Tensor, Tensor]:
    """A random spatial and colour transform (paper, 4.2) at the network's size: float32 (3, h, w), bool (N, h, w).

    Flip (half of the time), rotation in degrees within +-`rotation` about the centre, scale (log-uniform), and a shift
    within +-`translation` of width and height are one single affine warp from the source: bilinear for the image, with
    a source that is much larger averaged down first, nearest for the masks. What lies outside is `PADDING` and no
    object. Colours: `jitter`.

    `target` is the mask that must stay in sight (None: any of them): draws that lose it, or nearly all of it, are
    repeated up to 10 times; then the plain `fit` is taken, with colours still changed. Masks that come in empty do
    not ask for that. `window`: the part of the picture that an unmoved draw shows; where others reach beyond it, they
    show what is there. Default: all of it. `colour` scales the strength of the jitter: 1 is the paper's, 0 none. Costs
    about 1 ms for 240x432 -> 128x224.
    """
    source, layers = as_pixels(image), as_layers(masks)
    x0, y0, x1, y1 = window or (0, 0, source.shape[1], source.shape[0])
    shape = (y1 - y0, x1 - x0)
    out = network_size(shape[0], shape[1], size)
    wanted = layers if target is None else layers[target : target + 1]
    shares = [int(np.count_nonzero(layer[y0:y1, x0:x1])) / (shape[0] * shape[1]) for layer in wanted]
    before = [share * out[0] * out[1] for share in shares]
    low, high = math.log(scale[0]), math.log(scale[1])
    for _ in range(10):
        flipped, turn, zoom, right, down = torch.rand(5, generator=generator, dtype=torch.float64).tolist()
        zoom = math.exp(low + (high - low) * zoom)
        matrix = _matrix(
            shape,
            out,
            flip and flipped < 0.5,
            rotation * (2 * turn - 1),
            zoom,
            translation * (2 * right - 1) * out[1],
            translation * (2 * down - 1) * out[0],
            (x0, y0),
        )
        moved = warp_masks(layers, matrix, out)
        after = (moved if target is None else moved[target : target + 1]).flatten(1).sum(1).tolist()
        # at least a fifth of the object, and 16 pixels of it if it had as many
        least = [max(1.0, min(16.0, area), 0.2 * area * zoom * zoom) for area in before]
        if not any(before) or any(a >= b for a, b, c in zip(after, least, before, strict=True) if c):
            pixels = warp_image(source, matrix, out)
            break
    else:
        pixels, moved = _unit(_resize(source[y0:y1, x0:x1], *out)), _resize_masks(layers[:, y0:y1, x0:x1], *out)
    if colour:
        pixels = jitter(
            pixels, generator, brightness=0.2 * colour, contrast=0.2 * colour, saturation=0.2 * colour, hue=0.1 * colour
        )
    return as_tensor(pixels), moved


def jitter(
    pixels: np.ndarray,
    generator: torch.Generator,
    *,
    brightness: float = 0.2,
    contrast: float = 0.2,
    saturation: float = 0.2,
    hue: float = 0.1,
) -> np.ndarray:
    """Random colours (paper, 4.2): float32 (H, W, 3) in [0, 1] in and out.

    Brightness, contrast and saturation are factors within 1 +- the amount, the hue turns within +-`hue` of the circle.
    All four are affine in RGB (the hue as a turn of the IQ plane), so they are one 3 x 4 matrix a pixel and one clip:
    twenty times faster than one after the other through HSV.
    """
    draws = torch.rand(4, generator=generator, dtype=torch.float64).mul_(2).sub_(1).tolist()
    bright, contrasted, saturated = (1 + a * d for a, d in zip((brightness, contrast, saturation), draws, strict=False))
    angle = 2 * math.pi * hue * draws[3]
    turn = np.array([[1, 0, 0], [0, math.cos(angle), -math.sin(angle)], [0, math.sin(angle), math.cos(angle)]])
    grey = np.outer(np.ones(3), _LUMA)
    linear = _RGB @ turn @ _YIQ @ (saturated * np.eye(3) + (1 - saturated) * grey) * contrasted * bright
    middle = float(_LUMA @ cv2.mean(pixels)[:3]) * bright
    # contrast moves colours away from the mean grey, which the later steps leave where it is
    matrix = np.concatenate([linear, np.full((3, 1), (1 - contrasted) * middle)], axis=1)
    return np.clip(cv2.transform(pixels, matrix), 0, 1, dtype=np.float32)


def _matrix(
    source: tuple[int, ...], out: tuple[int, int], flipped: bool, degrees: float, zoom: float, right: float,
    down: float, corner: tuple[int, int] = (0, 0),
) -> np.ndarray:  # fmt: skip
    """float64 (3, 3): coordinates (x, y, 1) of the output -> of the source, where pixel i has its centre at i + 0.5.

    source: height and width of what an unmoved draw shows, whose first pixel is at `corner` (x, y).
    """
    (height, width), (h, w) = source[:2], out
    radians = math.radians(degrees)
    cos, sin = math.cos(radians), math.sin(radians)
    centre = np.array([[1, 0, -w / 2], [0, 1, -h / 2], [0, 0, 1]])
    turn = zoom * np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1 / zoom]])
    turn[:, 0] *= -1 if flipped else 1
    back = np.array([[1, 0, w / 2 + right], [0, 1, h / 2 + down], [0, 0, 1]])
    resize = np.diag([w / width, h / height, 1.0])
    shift = np.array([[1, 0, -corner[0]], [0, 1, -corner[1]], [0, 0, 1]])
    return np.linalg.inv(back @ turn @ centre @ resize @ shift)


def _indices(matrix: np.ndarray) -> np.ndarray:
    """The (2, 3) matrix over pixel indices, which OpenCV takes, of one over continuous coordinates."""
    shift = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return (np.linalg.inv(shift) @ matrix @ shift)[:2]


def warp_image(source: np.ndarray, matrix: np.ndarray, out: tuple[int, int]) -> np.ndarray:
    """float32 (h, w, 3) in [0, 1]."""
    step = math.sqrt(abs(np.linalg.det(matrix[:2, :2])))  # source pixels per output pixel
    if step > 1.6:  # a bilinear sample sees two pixels: shrink first, and leave a little for the warp's own blur
        height, width = (max(1, round(n * 1.25 / step)) for n in source.shape[:2])
        shrunk = cv2.resize(source, (width, height), interpolation=cv2.INTER_AREA)
        matrix = np.diag([width / source.shape[1], height / source.shape[0], 1.0]) @ matrix
        source = shrunk
    border = PADDING if source.dtype == np.float32 else tuple(255 * c for c in PADDING)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(
        source, _indices(matrix), out[::-1], flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=border
    )
    return _unit(warped)


def warp_masks(layers: np.ndarray, matrix: np.ndarray, out: tuple[int, int]) -> Tensor:
    """uint8 (N, H, W) -> bool (N, h, w), the nearest pixel."""
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    moved = np.zeros((len(layers), *out), np.uint8)
    indices = _indices(matrix)
    for layer, target in zip(np.ascontiguousarray(layers), moved, strict=True):
        target[:] = cv2.warpAffine(layer, indices, out[::-1], flags=flags, borderMode=cv2.BORDER_CONSTANT)
    return torch.from_numpy(moved).bool()


def _resize(source: np.ndarray, height: int, width: int) -> np.ndarray:
    if source.shape[:2] == (height, width):
        return source
    shrinks = height * width < source.shape[0] * source.shape[1]
    return cv2.resize(source, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _resize_masks(layers: np.ndarray, height: int, width: int) -> Tensor:
    shape = layers.shape[1:]
    result = warp_masks(layers, _matrix(shape, (height, width), False, 0.0, 1.0, 0.0, 0.0), (height, width))
    for layer, target in zip(layers, result, strict=True):
        if not target.any() and layer.any():
            y, x = (np.argwhere(layer).mean(0) + 0.5) / shape
            target[int(y * height), int(x * width)] = True
    return result


def as_pixels(image: Tensor | np.ndarray) -> np.ndarray:
    """(H, W, 3), uint8 or float32, contiguous."""
    if isinstance(image, Tensor):
        image = image.permute(1, 2, 0).numpy()
    return np.ascontiguousarray(image)


def as_layers(masks: Tensor | np.ndarray) -> np.ndarray:
    """bool (N, H, W) -> uint8 0/1 (N, H, W), without copying where it can be."""
    array = np.ascontiguousarray(masks.numpy() if isinstance(masks, Tensor) else masks)
    return array.view(np.uint8) if array.dtype == np.bool_ else (array != 0).astype(np.uint8)


def _unit(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.dtype == np.float32 else pixels.astype(np.float32) / np.float32(255)


def as_tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())
