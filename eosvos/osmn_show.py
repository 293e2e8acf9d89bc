"""python -m eosvos.osmn_show: pictures of what OSMN's modulators have learned (CVPR 2018, Figures 5, 6 and 7)."""

from __future__ import annotations

import sys

from eosvos.cli import usage

if __name__ == "__main__":  # before torch is loaded, which takes seconds
    usage.answer("osmn_show")

from pathlib import Path

import numpy as np
import torch

from eosvos.cli import build_data, find_learner, hydra_app, schema, validate
from eosvos.meta.learner import Learner
from eosvos.methods.osmn.guides import Guidance, GuidedTasks
from eosvos.models import osmn
from eosvos.plots import osmn_modulation

STILL = Guidance(guide_scale=0, guide_rotation=0, squares=())


@torch.no_grad()
def show(settings: schema.OSMNShowConfig) -> float:
    """Returns how often the nearest object is of the same group."""
    validate.check(settings)
    path = find_learner.learner_path(settings.learner, "osmn")
    learner, out = Learner.load(path), Path(settings.out)
    find_learner.check_learner(learner, path, "osmn")
    model = find_learner.build_network(learner.spec["model"], osmn.build)
    model.load_state_dict(learner.theta)
    model.eval()
    drawn, found = [], float("nan")
    if (visual := model.visual) is not None:
        _, unseen = build_data.tasksets(settings.taskset, settings.data_root, model)
        tasks = GuidedTasks(unseen, model.network_spec.guide, STILL)
        things = [tasks.guided(settings.seed, 0, index) for index in range(settings.objects)]
        gammas = torch.cat([visual(thing.guide[None]) for thing in things]).numpy()
        guides = np.stack([(255 * thing.guide).round().byte().permute(1, 2, 0).numpy() for thing in things])
        groups = [thing.category or f"{thing.name} {thing.object_id}" for thing in things]
        found, chance = osmn_modulation.neighbour_agreement(gammas, groups)
        print(f"nearest of {len(things)} objects of the same group: {found:.1%}, by chance {chance:.1%}")
        drawn.append(osmn_modulation.draw_embedding(gammas, guides, groups, out / "embedding.png"))
        spread = np.split(gammas.std(0), np.cumsum(model.channels)[:-1])
        title = "standard deviation of gamma over the objects, share of channels"
        drawn.append(osmn_modulation.draw_spread(spread, osmn.LAYERS, title, out / "visual.png"))
    if model.spatial is not None:
        scales = [p.flatten().abs().numpy() for p in model.spatial.parameters() if p.dim() == 4]  # the weights
        title = "magnitude of the scale of the heat map in beta, share of channels"
        drawn.append(osmn_modulation.draw_spread(scales, osmn.LAYERS, title, out / "spatial.png"))
    for path in drawn:
        print(path)
    return found


def main(arguments: list[str] | None = None) -> int:
    return hydra_app.run("osmn_show", show, arguments)


if __name__ == "__main__":
    sys.exit(main())
