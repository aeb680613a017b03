"""Writes torch_trajectories.json: the steps of PyTorch's own optimizers, in float64.

    python -m tests.optimizers.torch_trajectories

By hand, where torch is installed: the tests read the file and need no torch. Params and
gradients are those of the contract; weights are kept after a few of a hundred steps.
"""

import json
import pathlib

from tests.optimizers.inputs import random_grads, random_params

FILE = pathlib.Path(__file__).with_suffix(".json")
RATE, STEPS, KEPT = 2.0**-6, 100, (1, 2, 3, 10, 100)


def main() -> None:
    """Runs them all."""
    import torch

    optim = torch.optim
    optimizers = {
        "sgd": lambda groups: optim.SGD(groups, RATE),
        "heavy ball": lambda groups: optim.SGD(groups, RATE, momentum=0.9),
        "nesterov": lambda groups: optim.SGD(groups, RATE, momentum=0.9, nesterov=True),
        "adagrad": lambda groups: optim.Adagrad(groups, RATE),
        "rmsprop": lambda groups: optim.RMSprop(groups, RATE, alpha=0.9),
        "rmsprop with momentum": lambda groups: optim.RMSprop(
            groups, RATE, alpha=0.9, momentum=0.9
        ),
        "adam": lambda groups: optim.Adam(groups, RATE),
        "adamw": lambda groups: optim.AdamW(groups, RATE),
    }
    found = {}
    for name, make in optimizers.items():
        params = {
            key: torch.tensor(leaf, dtype=torch.float64, requires_grad=True)
            for key, leaf in random_params().items()
        }
        decays = {"kernel": 0.1 if name == "adamw" else 0.0, "bias": 0.0}
        optimizer = make([{"params": [params[key]], "weight_decay": decays[key]} for key in params])
        grads = random_grads(STEPS, random_params())
        history = {}
        for step in range(1, STEPS + 1):
            for key, leaf in params.items():
                leaf.grad = torch.tensor(grads[key][step - 1], dtype=torch.float64)
            optimizer.step()
            if step in KEPT:
                history[step] = {key: leaf.tolist() for key, leaf in params.items()}
        found[name] = history
    record = {"torch": torch.__version__, "rate": RATE, "optimizers": found}
    FILE.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
