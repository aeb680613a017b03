"""What our benchmarks measured of methods, read from the records."""

import functools
from collections.abc import Mapping
from typing import NamedTuple

from benchmarks import figures, runner, templates


class Measured(NamedTuple):
    """A sentence on a method, with figures of a record.

    Attributes:
      record: the record's name.
      words: with a {} for each figure.
      figures: their paths in the record, as its page names them.
      settings: by which the runs are told from others; an empty text where runs of the
        record do not have the setting.
    """

    record: str
    words: str
    figures: tuple[str, ...]
    settings: Mapping[str, str] = {}


@functools.cache
def groups(record: str) -> list[figures.Group]:
    """The runs of a record by their settings."""
    return figures.groups(runner.read(runner.RESULTS / f"{record}.json"))


def sentence(measured: Measured) -> str:
    """The sentence with its figures, means over runs with standard errors.

    Raises:
      ValueError: the settings and figures are not those of one kind of run.
    """
    found = [
        settings
        for settings, runs in groups(measured.record)
        if all(settings.get(key, "") == text for key, text in measured.settings.items())
        and all(name in run for name in measured.figures for run in runs)
    ]
    if len(found) != 1:
        raise ValueError(f"{measured} is found in {len(found)} groups of runs, not in one.")
    every = dict.fromkeys((key for settings, _ in groups(measured.record) for key in settings), "")
    words = measured.words.format(*(f"{{{name}:±}}" for name in measured.figures))
    return templates.filled(words, measured.record, every | found[0])


def solver(name: str) -> Measured:
    """What a solver of a pruned layer leaves as error, and in what time."""
    words = "half of a layer's weights pruned: {} of its outputs' energy is error, after {} s"
    figures = (f"{name}, 50 % · error", f"{name}, 50 % · cpu_seconds")
    return Measured("solver_errors", words, figures)


def criterion(name: str) -> Measured:
    """What pruning at once by a criterion costs."""
    words = "half of a character transformer pruned at once: test loss {}, dense {}"
    figures = (f"test · {name}, anywhere", "test · dense")
    return Measured("one_shot_gpt", words, figures, {"correction": ""})


def rounding(name: str) -> Measured:
    """What a rounding to 4 bits costs."""
    words = "a character transformer in 4 bits: test loss {}, to nearest {}, in floats {}"
    figures = (f"test · {name}", "test · nearest", "test · float")
    return Measured("quantized_gpt", words, figures, {"bits": "4"})


def sparse_training(method: str) -> Measured:
    """What training a LeNet to 2 % of its weights costs."""
    words = "2 % of the weights of LeNet-300-100 kept, 20 epochs: test error {}"
    chosen = {"kept": "0.02", "method": method, "net": "LeNet-300-100", "sparse": "15"}
    return Measured("sparsity_lenet", words, ("test",), chosen)


def classic(name: str) -> Measured:
    """Where a classic optimizer comes to."""
    words = "a two-layer perceptron on MNIST, 1,000 steps at a rate of {}: validation loss {}"
    return Measured("classics", words, ("rate", "validation · last"), {"optimizer": name})


def racer(name: str, rate: str) -> Measured:
    """Where an optimizer brings a transformer."""
    words = "a character transformer, 2,000 steps: test loss {}"
    return Measured("race", words, ("test",), {"racer": name, "rate": rate, "steps": "2000"})


def few_bits(form: str) -> Measured:
    """What training a ResNet at few bits costs."""
    words = "a small ResNet: test accuracy {}, in floats {}, a file of {} bytes"
    figures = (f"test · {form} · accuracy", "test · float · accuracy", "file_bytes")
    return Measured("low_bit_resnet", words, figures, {"form": form})


def low_precision(precision: str) -> Measured:
    """What training on 8-bit products comes to."""
    words = "a character transformer trained on such products: validation loss {}"
    return Measured("low_precision_gpt", words, ("validation",), {"precision": precision})


def state(name: str) -> Measured:
    """What a compressed state of Adam takes."""
    words = "Adam's state in {} of its bytes, at {} times the update's time"
    return Measured("optimizer_state", words, (f"{name} · share_of_bytes", f"{name} · cost"))


MEASURED = {
    "prune.solvers.alps": solver("alps"),
    "prune.solvers.least_squares": solver("least squares"),
    "prune.solvers.sparsegpt": solver("sparsegpt"),
    "prune.solvers.refitted": solver("sparsegpt, refitted"),
    "prune.criteria.magnitude": criterion("magnitude"),
    "prune.criteria.wanda": criterion("wanda"),
    "prune.criteria.snip": sparse_training("snip"),
    "prune.prune": sparse_training("gradual"),
    "prune.regrow": sparse_training("rigl"),
    "prune.shares.by_mean_score": sparse_training("sparse momentum"),
    "prune.woodfisher": sparse_training("woodfisher"),
    "prune.companions.l0_gates": sparse_training("l0"),
    "prune.patterns.n_of_m": Measured(
        "patterns",
        "the mask 2:4 of a 4096×4096 matrix in {} s, by `top_k` of its groups in {} s",
        ("ours · median_seconds", "top_k · median_seconds"),
        {"pattern": "2:4"},
    ),
    "quantize.rounding.ada_round": rounding("ada_round"),
    "quantize.rounding.sign_round": rounding("sign_round"),
    "quantize.rounding.gptq": rounding("gptq"),
    "quantize.rounding.hqq": rounding("hqq"),
    "quantize.ranges.mean_squared_error": rounding("mse ranges"),
    "quantize.equivalent.activation_aware": rounding("awq"),
    "quantize.equivalent.smooth": Measured(
        "quantized_activations",
        "weights and data in 8 bits, channels planted 30 times as large: test loss {} with it, "
        "{} without, {} in floats",
        ("test · planted, smoothed, W8A8", "test · planted, W8A8", "test · float"),
    ),
    "quantize.rounding.rate_distortion": Measured(
        "rate_curves",
        "a small ResNet in {} bytes at an error of {}, in int4 {} bytes at {}",
        ("rate-distortion4 · bytes", "rate-distortion4 · error", "int4 · bytes", "int4 · error"),
        {"net": "ResNet"},
    ),
    "quantize.rounding.trellis": Measured(
        "trellis_codes",
        "a matrix of Laplace numbers in {} bytes, by `rate_distortion` at the same error in {}",
        ("slopes · last · trellis_bytes", "slopes · last · rate_distortion_bytes"),
        {"array": "Laplace"},
    ),
    "quantize.run": Measured(
        "integer_matmul",
        "a 4096×4096 layer at batch 1 on int8 codes: {} times as fast as in float32",
        ("variants · w8a8 · times_as_fast",),
        {"batch": "1"},
    ),
    "quantize.training.binary_connect": Measured(
        "binary_mnist",
        "a perceptron of three layers of 64 units in single bits: test accuracy {}, {} bytes",
        ("test · accuracy", "file_bytes"),
        {"width": "64"},
    ),
    "quantize.training.learned_steps": few_bits("W4A4"),
    "quantize.training.trained_ternary": few_bits("TTQ"),
    "quantize.training.ternary_weights": few_bits("TWN"),
    "quantize.training.low_precision": low_precision("int8"),
    "quantize.training.delayed_scaling": low_precision("fp8, delayed"),
    "quantize.training.dynamic_scaling": low_precision("fp8, dynamic"),
    "adapt.lora": Measured(
        "qlora_gpt",
        "a character transformer fine-tuned on other text: test loss {}, {} before, with {} "
        "bytes trained",
        ("after", "before", "bytes trained"),
        {"method": "lora", "part": "test"},
    ),
    "structure.remove": Measured(
        "structured_resnet",
        "a small ResNet at {} of {} multiply-adds: test accuracy {} after training again, "
        "{} as cut, {} dense",
        (
            "costs · 1/2 · macs",
            "costs · dense · macs",
            "test · 1/2, trained · accuracy",
            "test · 1/2, removed · accuracy",
            "test · dense, trained · accuracy",
        ),
    ),
    "optimizers.quantize_state": state("dynamic8"),
    "optimizers.fp8": state("fp8"),
    "optimizers.muon": racer("muon", "0.008"),
    "optimizers.soap": racer("soap", "0.016"),
    "optimizers.shampoo": racer("shampoo", "0.008"),
    "optimizers.schedule_free_adamw": racer("schedule-free", "0.008"),
    "optimizers.adamw": racer("adamw", "0.008"),
    "optimizers.lion": racer("lion", "0.0016"),
    "optimizers.nesterov": racer("nesterov", "0.8"),
} | {
    f"optimizers.{name}": classic(name)
    for name in (
        "sgd",
        "heavy_ball",
        "adagrad",
        "rmsprop",
        "centered_rmsprop",
        "adam",
        "nadam",
        "amsgrad",
    )
}
"""By call what was measured of it."""
