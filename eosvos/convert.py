"""python -m eosvos.convert: write a learner of a published Mask R-CNN, such as the checkpoints of e-OSVOS's authors."""

from __future__ import annotations

import sys

from eosvos.cli import usage

if __name__ == "__main__":  # before torch is loaded, which takes seconds
    usage.answer("convert")

from pathlib import Path

from eosvos.cli import hydra_app, schema, validate
from eosvos.learners.published import open_learner
from eosvos.meta.learner import rate_statistics
from eosvos.models.pretrained.files import PREFIX


def convert(settings: schema.ConvertConfig) -> None:
    validate.check(settings)
    out = Path(str(settings.out)).expanduser()
    given = str(settings.weights)
    learner = open_learner(given if given.startswith(PREFIX) else Path(given), settings.learner_rate)
    learner.save(out, replace=False)
    values, rates = (sum(t.numel() for t in group) for group in (learner.theta.values(), learner.distinct_rates()))
    told = f"{rates:,} learning rate{'s' * (rates != 1)}, {rate_statistics(learner)['rate_mean']:.2g} in the mean"
    if not learner.has_rates:
        told = "no learning rates: learner_rate= gives one, here or where it is used"
    print(f"{out}: of {learner.spec.get('weights', 'a learner')}, {values:,} parameters, {told}")


def main(arguments: list[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and not given[0].startswith("-") and ("=" not in given[0] or Path(given[0]).exists()):
        given[0] = f"weights={given[0]}"
    return hydra_app.run("convert", convert, given)


if __name__ == "__main__":
    sys.exit(main())
