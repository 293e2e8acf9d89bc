"""Settings of e-OSVOS at test time: fine-tuning, box propagation, online adaptation, the window about the object.

The defaults are the values that were measured best; the paper's own values are given beside them.
"""

from __future__ import annotations

from dataclasses import dataclass

from eosvos.meta.learner import FROM_LEARNER


@dataclass(frozen=True)
class FineTuning:
    """Fine-tuning on annotated frames (section 3.2).

    Attributes:
        batch: copies of an annotated frame in each step.
        spatial: whether the copies are transformed: mirrored half of the time, scaled, turned and shifted.
        zoom: bounds of their scale.
        rotation: largest turn in degrees, in both directions.
        translation: largest shift as a share of width and height, in both directions.
        colour: whether their colours are jittered.
        clip: norm to which a gradient is scaled down; None: none is; "learner": as in the learner's training, or 5 if
            that is not known.
        average: the parameters in use are the mean over this last share of the steps, in [0, 1], which removes the
            noise of single steps (Polyak & Juditsky, 1992). 0 is the paper's rule: those of the last step. 0.5 was
            measured better (docs/results/shipped.md).
    """

    batch: int = 1
    spatial: bool = True
    zoom: tuple[float, float] = (0.75, 1.25)
    rotation: float = 30.0
    translation: float = 0.1
    colour: bool = False
    clip: float | str | None = FROM_LEARNER
    average: float = 0.5


@dataclass(frozen=True)
class Detection:
    """The network's proposals and detections at test time; None: as in the learner's training.

    Attributes:
        rpn_pre: proposals kept per pyramid level before NMS in steps of fine-tuning.
        rpn_post: proposals kept per image after it.
        rpn_pre_test: the same as `rpn_pre` on frames to segment.
        rpn_post_test: the same as `rpn_post` on frames to segment.
        box_nms: IoU with a better detection from which on one is dropped, in [0, 1].
    """

    rpn_pre: int | None = None
    rpn_post: int | None = None
    rpn_pre_test: int | None = None
    rpn_post_test: int | None = None
    box_nms: float | None = None


@dataclass(frozen=True)
class Propagation:
    """Box propagation (section 3.3): the object's last box helps to find it in the next frame.

    Attributes:
        boxes: number of jittered copies of the last box that are added to the proposals; 0: off.
        jitter: each side moves by up to this share of the box's width or height.
        outward: whether sides move outward only.
        continuity: weight of the IoU with the last box in the choice of the detection (`iou_prior_weight` of the
            network). 0 is the paper's rule, the highest score; a small network then jumps to similar objects far
            away, and 1 was measured better (docs/results/shipped.md).
        voting: detections whose IoU with the chosen one is at least this are averaged with it (`box_voting_iou` of
            the network). 0: off, as in the paper; 0.5 was measured better.
    """

    boxes: int = 50
    jitter: float = 0.2
    outward: bool = False
    continuity: float = 1.0
    voting: float = 0.5


@dataclass(frozen=True)
class Online:
    """Online adaptation (section 4.2): fine-tuning on predictions of past frames during the video.

    Attributes:
        every: frames between two adaptations (I_OnA).
        steps: steps of each adaptation (T_OnA).
        past: number of past frames to train on, the latest first.
        stride: frames between two of these.
        skip: number of latest frames that are passed over.
        weight: weight of the loss of a past frame; an annotated one has 1. Past masks may be wrong, and OnAVOS, which
            the paper follows, gives them a low weight (Voigtlaender & Leibe, BMVC 2017). The paper states none, which
            means 1; 0.05 was measured better (docs/results/real-data.md).
        joining: past frames take part in this many last steps, with a weight that keeps their share of all steps. The
            paper's rule is `steps`. The steps before see annotated frames only; with `reset` they are the same each
            time and are computed once.
        low: lower bound of the probabilities that are left out of the mask loss.
        high: upper bound of these.
        min_area: share of the image that a past mask must cover.
        reset: whether each adaptation starts from the state after the first frame.
    """

    every: int = 5
    steps: int = 10
    past: int = 2
    stride: int = 2
    skip: int = 0
    weight: float = 0.05
    joining: int = 2
    low: float = 0.3
    high: float = 0.7
    min_area: float = 0.001
    reset: bool = True


@dataclass(frozen=True)
class Windowing:
    """The window of a frame that the network sees, about the object; the paper uses whole frames.

    Attributes:
        size: side of the window in multiples of the object's last box; 0: whole frames; "learner", or None: as in the
            learner's training, or whole frames if that is not known.
        ease: share, in [0, 1], by which the window's size follows that of the box from frame to frame.
        widen: factor by which the window grows with each frame in which the object is not found.
        return_score: least score, in [0, 1], of a detection after a frame in which the object was not found; without a
            window (size 0) it is the network's own.
    """

    size: float | str | None = FROM_LEARNER
    ease: float = 0.5
    widen: float = 1.4
    return_score: float = 0.5
