"""Joint transforms of an image and its masks, from any size straight to the network's size.

Images come in as float32 (3, H, W) tensors, RGB in [0, 1], or as uint8 (H, W, 3) arrays (`VideoSequence.read_frame`),
which saves a conversion of the full image; they leave as float32 (3, h, w). Boxes are computed from the masks that come
out, not transformed. All draws come from the given torch.Generator.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from torch import Tensor

from eosvos.data.window import Rectangle

PADDING = (0.485, 0.456, 0.406)
"""RGB of pixels outside the image: ImageNet's mean, so the same as the zeros that torchvision pads with after the
normalisation. Mirroring the image there would show copies of the object that the masks call background; smearing its
edge would do the same with objects that touch it."""

_LUMA = np.array([0.299, 0.587, 0.114])
_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
_RGB = np.linalg.inv(_YIQ)


def network_size(height: int, width: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return the height and width of an image in the network, as torchvision's detection transform resizes it.

    Args:
        height: height of the image in pixels.
        width: width of the image in pixels.
        size: (short, long): the short side becomes `short`, unless the long one would then exceed `long`.
    """
    short, long = size
    scale = min(short / min(height, width), long / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def fit(image: Tensor | np.ndarray, masks: Tensor | np.ndarray, *, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Resize an image and its masks to the network's size.

    The image is averaged over areas when it shrinks (torchvision's bilinear filter would alias) and bilinear when it
    grows; masks take the nearest pixel. An object too small for any pixel keeps the one under its centre, as an empty
    mask would say that it is absent.

    Args:
        image: float32 (3, H, W) in [0, 1], or uint8 (H, W, 3).
        masks: bool (N, H, W).
        size: short and long side of the network's images in pixels.

    Returns:
        float32 (3, h, w) in [0, 1] and bool (N, h, w).
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
    """Apply a random spatial and colour transform at the network's size (e-OSVOS, section 4.2).

    Flip, rotation, scale and translation are one affine warp from the source: bilinear for the image, which is averaged
    down first if it is much larger, nearest for the masks. Pixels outside the source become `PADDING` and background.
    Takes about 1 ms for 240x432 -> 128x224.

    Args:
        image: float32 (3, H, W) in [0, 1], or uint8 (H, W, 3).
        masks: bool (N, H, W).
        generator: generator of all draws, on the CPU.
        size: short and long side of the network's images in pixels.
        scale: smallest and largest scale, drawn log-uniformly.
        rotation: largest rotation about the centre in degrees, in both directions.
        translation: largest shift as a share of width and height, in both directions.
        flip: whether to mirror half of the time.
        colour: strength of the colour jitter (`jitter`): 1 is the paper's, 0 none.
        target: index of the mask that must stay visible; None: any of them. A draw that loses it, or nearly all of it,
            is repeated up to 10 times; then the image is only resized. Masks that come in empty are exempt.
        window: x0, y0, x1, y1 in pixels of the part of the image that an identity draw shows; other draws may reach
            beyond it. None: the whole image.

    Returns:
        float32 (3, h, w) in [0, 1] and bool (N, h, w).
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
    """Change the colours of an image at random (e-OSVOS, section 4.2).

    Brightness, contrast and saturation are multiplied by a factor within 1 +- the argument; the hue turns within +-
    `hue` of the colour circle. All four are affine in RGB (the hue as a rotation of the IQ plane), so they are one 3x4
    matrix per pixel and one clip: twenty times faster than one after the other through HSV.

    Args:
        pixels: float32 (H, W, 3) in [0, 1], RGB.
        generator: generator of the draws.
        brightness: largest relative change.
        contrast: largest relative change.
        saturation: largest relative change.
        hue: largest rotation, as a share of the circle.

    Returns:
        float32 (H, W, 3) in [0, 1].
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
    source: tuple[int, ...],
    out: tuple[int, int],
    flipped: bool,
    degrees: float,
    zoom: float,
    right: float,
    down: float,
    corner: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """Return the float64 (3, 3) matrix that maps output coordinates (x, y, 1) to the source.

    Pixel i has its centre at i + 0.5. `source`: height and width of what an identity draw shows, whose first pixel is
    at `corner` (x, y).
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
    """Convert a matrix over continuous coordinates to the (2, 3) matrix over pixel indices that OpenCV takes."""
    shift = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return (np.linalg.inv(shift) @ matrix @ shift)[:2]


def warp_image(source: np.ndarray, matrix: np.ndarray, out: tuple[int, int]) -> np.ndarray:
    """Warp an image.

    Args:
        source: uint8 or float32 (H, W, 3).
        matrix: (3, 3), output coordinates -> source.
        out: height and width of the output in pixels.

    Returns:
        float32 (h, w, 3) in [0, 1].
    """
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
    """Warp masks, uint8 (N, H, W) of 0 and 1, by the nearest pixel to bool (N, h, w); arguments as of `warp_image`."""
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
    """Convert an image to a contiguous array (H, W, 3), uint8 or float32."""
    if isinstance(image, Tensor):
        image = image.permute(1, 2, 0).numpy()
    return np.ascontiguousarray(image)


def as_layers(masks: Tensor | np.ndarray) -> np.ndarray:
    """Convert masks bool (N, H, W) to uint8 of 0 and 1, without a copy where possible."""
    array = np.ascontiguousarray(masks.numpy() if isinstance(masks, Tensor) else masks)
    return array.view(np.uint8) if array.dtype == np.bool_ else (array != 0).astype(np.uint8)


def _unit(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.dtype == np.float32 else pixels.astype(np.float32) / np.float32(255)


def as_tensor(pixels: np.ndarray) -> Tensor:
    """Convert an image (H, W, 3) to a contiguous tensor (3, H, W)."""
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())
