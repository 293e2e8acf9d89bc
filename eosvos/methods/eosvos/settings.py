"""What e-OSVOS goes by at test time: settings of fine-tuning, box propagation, online adaptation and the window.

The defaults are what measured best; the paper's own values stand beside them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FineTuning:
    """batch: transformed copies of the given frame in each step. spatial: whether they are transformed (flip, rotation,
    scale) or plain. colour: whether their colours are jittered too. clip: see `meta.adapt.adapt`. average: the
    parameters in use are the mean over this last share of the steps, which takes out the noise of single steps (Polyak
    & Juditsky, 1992). 0 is the paper's rule, the last step's alone; 0.5 was measured better (docs/results/shipped.md).
    """

    batch: int = 1
    spatial: bool = True
    colour: bool = False
    clip: float = 5.0
    average: float = 0.5


@dataclass(frozen=True)
class Propagation:
    """boxes: randomly transformed copies of the object's last box that join the proposals (0: off). jitter: each side
    moves by up to this share of the box's size. outward: sides move outward only. continuity: weight of the overlap
    with the last box when the detection is chosen. 0 is the paper's rule, the best score alone; a tiny network then
    jumps to look-alikes far away, and 1 was measured better (docs/results/shipped.md). voting: boxes that overlap the
    chosen one by so much are averaged with it (0: not, as in the paper; measured better, too).
    """

    boxes: int = 50
    jitter: float = 0.2
    outward: bool = False
    continuity: float = 1.0
    voting: float = 0.5


@dataclass(frozen=True)
class Online:
    """every: frames between adaptations (I_OnA). steps: of each (T_OnA). past: how many past frames join the given one,
    the latest first, `stride` frames apart. weight: of the loss of each of them, beside 1 of the given frame, as their
    masks may be wrong. The paper names none, so 1 is its rule; 0.05 was measured better (docs/results/real-data.md).
    OnAVOS, which it follows, weighs past frames little, too (Voigtlaender & Leibe, BMVC 2017). joining: they join
    the last so many steps, and weigh so much more there that their share of all steps stays; `steps` is the paper's
    rule. The steps before them see the given frames alone: where `reset` is on they are the same every time, and made
    once. low, high: probabilities between them are left out of the mask loss. min_area: share of the image that a past
    mask must cover. reset: start from the first-frame state each time.
    """

    every: int = 5
    steps: int = 10
    past: int = 2
    stride: int = 2
    weight: float = 0.05
    joining: int = 2
    low: float = 0.3
    high: float = 0.7
    min_area: float = 0.001
    reset: bool = True


@dataclass(frozen=True)
class Windowing:
    """A window about the object is what the network sees, of the given frames and of those that follow, in place of
    whole frames (the paper's way). size: of the window in sizes of the object's last box; 0: whole frames; null: as the
    learner was trained. ease: share by which the window's size follows that of the box from frame to frame. widen: for
    each frame in which the object was not found, the window gets so much larger, until it is the frame.
    """

    size: float | None = None
    ease: float = 0.5
    widen: float = 1.4
