"""What our benchmarks measured of methods, read from the records."""

import functools
from collections.abc import Mapping
from typing import NamedTuple

from benchmarks import figures, runner, templates

SAME_SIZES = {"data": "gaussian", "m": "200", "n": "200", "shift": "no shift"}
"""Of one size of the sets in the benchmark of tests of shift."""
FOUND = "found · 0 · true_positives (version=dense)"
"""Members found at the lowest rate of false positives."""


class Measured(NamedTuple):
    """A sentence on a method, with figures of a record.

    Attributes:
      record: the record's name.
      words: with a {} for each figure.
      figures: their paths in the record, as its page names them; of other runs with the
        setting that differs, as in templates: "validation (precision=float32)"; or of
        all runs under the settings, each as "min coverage".
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
    words = measured.words.format(*(f"{{{name}:±}}" for name in measured.figures))
    if all(name.partition(" ")[0] in templates.OVER for name in measured.figures):
        return templates.filled(words, measured.record, measured.settings)
    own = [name for name in measured.figures if not templates.UNDER.search(name)]
    found = [
        settings
        for settings, runs in groups(measured.record)
        if all(settings.get(key, "") == text for key, text in measured.settings.items())
        and all(name in run for name in own for run in runs)
    ]
    if len(found) != 1:
        raise ValueError(f"{measured} is found in {len(found)} groups of runs, not in one.")
    every = dict.fromkeys((key for settings, _ in groups(measured.record) for key in settings), "")
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


def few_bits(form: str, bits: str) -> Measured:
    """What training a ResNet at few bits costs."""
    words = f"a small ResNet, {bits}: test accuracy {{}}, in floats {{}}, a file of {{}} bytes"
    figures = (f"test · {form} · accuracy", "test · float · accuracy", "file_bytes")
    return Measured("low_bit_resnet", words, figures, {"form": form})


def low_precision(precision: str, products: str) -> Measured:
    """What training on 8-bit products comes to."""
    words = f"a character transformer trained on {products}: validation loss {{}}, in float32 {{}}"
    figures = ("validation", "validation (precision=float32)")
    return Measured("low_precision_gpt", words, figures, {"precision": precision})


def order(name: str) -> Measured:
    """What an order of rounding leaves as error."""
    words = "a layer whose inputs differ in size: {} of its outputs' energy is error, to nearest {}"
    figures = (f"{name}, sweeps=0 · error", "nearest · error")
    return Measured("gptq_layer", words, figures, {"measured": "options"})


def vectors(words: str, *figures: str) -> Measured:
    """What codes shared by weights cost a LeNet."""
    return Measured("shared_vectors", f"LeNet-300-100 on MNIST, {words}", figures)


def few_kilobytes(finish: str, words: str, *figures: str, **settings: str) -> Measured:
    """What a file of a few kilobytes costs a LeNet."""
    chosen = {"finish": finish, "net": "LeNet-300-100", "part": "test", **settings}
    return Measured("deep_compression", f"LeNet-300-100 on MNIST, {words}", figures, chosen)


def taught(method: str, losses: str) -> Measured:
    """What a small ResNet learns by a loss."""
    words = (
        f"a ResNet of a quarter of its teacher's weights, on labels with {losses}: test accuracy "
        "{}, on labels alone {}"
    )
    figures = ("test · student", "test · student (method=labels)")
    return Measured("distilled_resnet", words, figures, {"method": method})


def together(name: str, words: str) -> Measured:
    """How several models as one answer beside the largest of them."""
    figures = (f"against dense · {name} · accuracy_difference",)
    return Measured("mnist_ensemble", f"{words}: test accuracy minus LeNet-5's: {{}}", figures)


def state(name: str) -> Measured:
    """What a compressed state of Adam takes."""
    words = "Adam's state in {} of its bytes, at {} times the update's time"
    return Measured("optimizer_state", words, (f"{name} · share_of_bytes", f"{name} · cost"))


def mask_in(pattern: str, other: str = "top_k") -> Measured:
    """How long finding a mask takes, beside another way to find it."""
    words = f"the mask of half of a 4096×4096 matrix in {{}} s, by {other} in {{}} s"
    figures = ("ours · median_seconds", f"{other} · median_seconds")
    return Measured("patterns", words, figures, {"pattern": pattern})


def ranked(importance: str) -> Measured:
    """How near an importance comes to the rise of the loss without each unit."""
    layers = ("conv1/0:3", "conv2/0:3", "dense1/0:1")
    words = (
        "units of LeNet-5 ranked beside the loss's rise without each: Spearman's correlation {} "
        "in the first layer, {} in the second, {} in the third"
    )
    return Measured(
        "structured_scores", words, tuple(f"{layer} · {importance}, to exact" for layer in layers)
    )


def covered(metric: str) -> Measured:
    """How often the interval of a metric holds the truth."""
    words = "its interval of 100 examples at a confidence of 0.95 covers in a share of {} of draws"
    chosen = {"metric": metric, "n": "100", "question": "coverage"}
    return Measured("metric_intervals", words, ("coverage",), chosen)


def least_coverage(part: str, figure: str, of: str) -> Measured:
    """How seldom an interval may hold the truth."""
    words = (
        f"at a confidence of 0.95 it covers {of} of 100 to 1,000 examples in a share of {{}} "
        "of draws or more"
    )
    return Measured("error_rates", words, (f"min {figure}",), {"part": part})


def most_errors(part: str, figure: str) -> Measured:
    """How often a test may reject where nothing differs."""
    words = "at a level of 0.05 it rejects a true hypothesis in a share of {} of draws at most"
    return Measured("error_rates", words, (f"max {figure}",), {"part": part})


def alarms(test: str) -> Measured:
    """How often a test of shift alarms, rightly and wrongly."""
    words = (
        "200 and 200 examples of eight features: alarms in a share of {} of draws without a shift, "
        "{} with a mean moved by half a deviation, {} with a correlation of 0.7"
    )
    shifts = ("no shift", "one mean by 0.5", "a correlation of 0.7")
    figures = tuple(f"{test} (shift={shift})" for shift in shifts)
    return Measured("shift_tests", words, figures, SAME_SIZES)


def attacked(attack: str, needs: str = "") -> Measured:
    """How many members an attack finds."""
    words = (
        "a net that knows 4,000 photographs by heart: a share of {} of them found at 0.1 % false "
        f"positives{needs}"
    )
    chosen = {"kind": "copies", "version": "dense", "attack": attack}
    return Measured("membership_audit", words, (FOUND,), chosen)


def planted(kind: str, among: str, **settings: str) -> Measured:
    """How many planted leaks a search finds."""
    words = f"planted in {among}: {{}} of {{}} found, {{}} of {{}} clean ones called so too"
    parts = ("found", "planted", "false alarms", "clean")
    figures = tuple(f"sum {kind} · {part}" for part in parts)
    return Measured("planted_leaks", words, figures, {"what": "planted", **settings})


INTERVALS = {
    f"validate.metrics.{name}": covered(f"{name} of {data}")
    for data, names in {
        "classes": (
            "accuracy",
            "balanced_accuracy",
            "precision",
            "recall",
            "f1",
            "macro_f1",
            "matthews",
            "brier",
            "calibration_error",
            "adaptive_calibration_error",
            "macro_roc_auc",
        ),
        "scores": ("roc_auc", "average_precision"),
        "numbers": ("mean_squared_error", "root_mean_squared_error", "r2", "spearman"),
        "tokens": ("perplexity",),
    }.items()
    for name in names
} | {"validate.metrics.cross_entropy": covered("loss of classes")}
"""What was measured of intervals of metrics."""

XNOR_NET = Measured(
    "binary_resnet",
    "a small ResNet, six epochs from scratch: test accuracy {} as XNOR-Net, {} with weights "
    "of one bit alone, in floats {}",
    (
        "test · XNOR-Net · accuracy",
        "test · BinaryConnect · accuracy",
        "test · float · accuracy",
    ),
)

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
    "prune.patterns.within_groups": mask_in("groups of 32"),
    "prune.patterns.within_outputs": mask_in("within outputs"),
    "prune.patterns.unstructured": mask_in("unstructured", "sorting"),
    "prune.solvers.optimal_brain_surgeon": sparse_training("surgeon"),
    "prune.hold": sparse_training("magnitude"),
    "prune.reconstruct": Measured(
        "one_shot_gpt",
        "half of a character transformer pruned by `alps`: test loss {} with half a correction, {} "
        "without, by magnitude {}, dense {}",
        tuple(
            f"test · {name}"
            for name in (
                "alps, corrected, anywhere",
                "alps, anywhere",
                "magnitude, anywhere",
                "dense",
            )
        ),
    ),
    "prune.iterative": Measured(
        "lottery_ticket",
        "lottery tickets of LeNet-300-100: test error {} with a share of {} of the weights, {} "
        "with all",
        tuple(
            f"{path} (rounds=16)"
            for path in (
                "rounds · 15 · ticket · test",
                "rounds · 15 · left · share",
                "rounds · 0 · ticket · test",
            )
        ),
    ),
    "quantize.rounding.ada_round": rounding("ada_round"),
    "quantize.rounding.sign_round": rounding("sign_round"),
    "quantize.rounding.gptq": rounding("gptq"),
    "quantize.rounding.hqq": rounding("hqq"),
    "quantize.ranges.mean_squared_error": rounding("mse ranges"),
    "quantize.equivalent.activation_aware": rounding("awq"),
    "quantize.rounding.sparse": Measured(
        "quantized_gpt",
        "a character transformer half pruned and in 4 bits: test loss {}, one after the other {}, "
        "in floats {}",
        (
            "test · half pruned and gptq at once",
            "test · half pruned, then gptq",
            "test · float",
        ),
        {"bits": "4"},
    ),
    "quantize.reconstruct": Measured(
        "quantized_gpt",
        "a character transformer in 3 bits by `gptq`: test loss {} with half a correction, {} "
        "without, to nearest {}",
        ("test · gptq, corrected", "test · gptq", "test · nearest"),
        {"bits": "3"},
    ),
    "quantize.quantize": Measured(
        "quantized_lstm",
        "an LSTM: test loss {} in 8 bits, {} in 4, {} in floats",
        ("test · 8 bits, nearest", "test · 4 bits, nearest", "test · float"),
    ),
    "quantize.rounding.nearest": Measured(
        "quantized_resnet",
        "a small ResNet, weights in 4 bits, data in 8: test accuracy {}, by `gptq` {}, "
        "in floats {}",
        (
            "test · W4A8, nearest · accuracy",
            "test · W4A8, gptq · accuracy",
            "test · float · accuracy",
        ),
    ),
    "quantize.execution.static": Measured(
        "quantized_resnet",
        "a small ResNet, weights and data in 8 bits: test accuracy {}, in floats {}",
        ("test · W8A8 · accuracy", "test · float · accuracy"),
    ),
    "quantize.rounding.orders.by_energy": order("by_energy"),
    "quantize.rounding.orders.min_pivot": order("min_pivot"),
    "quantize.rounding.orders.natural": order("natural"),
    "quantize.equivalent.rotate": Measured(
        "quantized_activations",
        "a character transformer, weights and data in 4 bits: test loss {} rotated, {} not, {} in "
        "floats",
        ("test · rotated, W4A4", "test · W4A4", "test · float"),
    ),
    "quantize.equivalent.smooth": Measured(
        "quantized_activations",
        "weights and data in 8 bits, channels planted 30 times as large: test loss {} with it, "
        "{} without, {} in floats",
        ("test · planted, smoothed, W8A8", "test · planted, W8A8", "test · float"),
    ),
    "quantize.rounding.rate_distortion": Measured(
        "rate_curves",
        "a small ResNet in {} bytes at an error of {}, in int4 {} bytes at {}",
        (
            "rate-distortion4 · bytes",
            "rate-distortion4 · error",
            "int4 · bytes",
            "int4 · error",
        ),
        {"net": "ResNet"},
    ),
    "quantize.rounding.trellis": Measured(
        "trellis_codes",
        "a matrix of Laplace numbers in {} bytes, by `rate_distortion` at the same error in {}",
        ("slopes · last · trellis_bytes", "slopes · last · rate_distortion_bytes"),
        {"array": "Laplace"},
    ),
    "quantize.sharing.product": vectors(
        "256 vectors of 4 weights, trained on: {} bytes at a test error of {}, dense {} at {}",
        "256 vectors of 4 · by weights, trained on · bytes",
        "256 vectors of 4 · by weights, trained on · error",
        "dense · bytes",
        "dense · error",
    ),
    "quantize.sharing.centroids": vectors(
        "64 vectors of 4 weights: test error {} with entries trained, {} before, dense {}",
        "64 vectors of 4 · by weights, trained on · error",
        "64 vectors of 4 · by weights · error",
        "dense · error",
    ),
    "quantize.sharing.share": vectors(
        "4 values for each matrix: test error {} weighed by inputs, {} with all alike, dense {}",
        "4 values · by inputs · error",
        "4 values · by weights · error",
        "dense · error",
    ),
    "quantize.sharing.k_means": few_kilobytes(
        "shared",
        "6 % of its weights and 64 values for each layer: {} bytes at a test error of {}, before "
        "{} at {}",
        "shared · bytes",
        "shared · error",
        "pruned · bytes",
        "pruned · error",
    ),
    "quantize.companions.learned_rate": few_kilobytes(
        "rated",
        "3.3 % of its weights: {} bytes at a test error of {}, before {} at {}",
        "coded · bytes",
        "coded · error",
        "pruned · bytes",
        "pruned · error",
        value="0.005",
    ),
    "quantize.companions.random_codes": few_kilobytes(
        "noisy",
        "encoded in five rounds: {} bytes at a test error of {}, dense {} at {}",
        "coded · bytes",
        "coded · error",
        "dense · bytes",
        "dense · error",
    ),
    "quantize.formats.nf4": Measured(
        "qlora_gpt",
        "a character transformer of {} bytes in it, adapters of {} bytes trained on other text: "
        "test loss {}, {} before",
        ("file of the base", "bytes trained", "after", "before"),
        {"method": "qlora", "part": "test"},
    ),
    "quantize.plan_execution": Measured(
        "planned_mlp",
        "four layers of 1024 at batch 1 as planned: {} times as fast as in float32",
        ("planned · times_as_fast",),
        {"batch": "1", "jax": "0.10.2"},
    ),
    "quantize.execution.packed_model": Measured(
        "packed_bits",
        "three binary layers of 1024 at batch 1: {} ms of the processor, in float32 {}; {} bytes, "
        "in float32 {}",
        (
            "packed · processor_ms",
            "float32 · processor_ms",
            "packed · bytes",
            "float32 · bytes",
        ),
        {"batch": "1", "width": "1024"},
    ),
    "quantize.fake_quantize_model": Measured(
        "int8_mlp",
        "a step of training four layers of 1024 at batch 128: {} ms, by two views {}, "
        "in float32 {}",
        ("median_ms · fake_quantized", "median_ms · views", "median_ms · float32"),
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
    "quantize.training.binary_activations": XNOR_NET,
    "quantize.training.binary_weights": XNOR_NET,
    "quantize.training.data.mean_magnitude": XNOR_NET,
    "quantize.training.learned_steps": few_bits("W4A4", "weights and data in 4 bits"),
    "quantize.training.learned_activations": few_bits("W2A2", "weights and data in 2 bits"),
    "quantize.training.data.learned_step": Measured(
        "low_bit_lstm",
        "an LSTM, weights and data in 4 bits: test loss {}, weights alone {}, in floats {}",
        ("test · W4A4", "test · W4", "test · float"),
    ),
    "quantize.training.trained_ternary": few_bits("TTQ", "weights at three levels"),
    "quantize.training.ternary_weights": few_bits("TWN", "weights at three levels"),
    "quantize.training.low_precision": low_precision("int8", "int8 products"),
    "quantize.training.delayed_scaling": low_precision("fp8, delayed", "fp8 products"),
    "quantize.training.dynamic_scaling": low_precision("fp8, dynamic", "fp8 products"),
    "quantize.training.round_stochastic": low_precision(
        "int8, stochastic gradients", "int8 products, gradients rounded so"
    ),
    "distill.outputs.soft_targets": Measured(
        "distilled_lstm",
        "an LSTM of {} weights taught by one of {}: test loss {}, on labels alone {}, "
        "the teacher {}",
        (
            "parameters · soft targets",
            "parameters · teacher",
            "test · soft targets",
            "test · labels",
            "test · teacher",
        ),
    ),
    "distill.outputs.inter_class_relation": taught("correlated answers", "both relations"),
    "distill.outputs.intra_class_relation": taught("correlated answers", "both relations"),
    "distill.outputs.decoupled_targets": taught("decoupled answers", "decoupled targets"),
    "distill.features.attention_transfer": taught("attention transfer", "attention transfer"),
    "distill.features.projected": taught("hints and answers", "hints and soft targets"),
    "distill.relations.contrastive": taught("contrastive", "contrast"),
    "distill.sequences.student_share": Measured(
        "distilled_text",
        "a transformer of two layers of its teacher: test loss {} with half of the text its own, "
        "{} with none, the teacher {}",
        (
            "test · own text, teacher's layers",
            "test · answers, teacher's layers",
            "test · teacher",
        ),
    ),
    "distill.students.from_layers": Measured(
        "distilled_text",
        "the first and the last of six layers of a transformer, trained on labels: test loss {}, "
        "from random weights {}, the teacher {}",
        ("test · labels, teacher's layers", "test · labels", "test · teacher"),
    ),
    "distill.ensembles.fit_cascade": together(
        "cascade, 0.0% tolerated", "a perceptron before LeNet-5 on MNIST"
    ),
    "distill.ensembles.mixture": together(
        "mixture, equal", "LeNet-5 and two compressed models on MNIST, equal weights"
    ),
    "distill.ensembles.fit_weights": together(
        "mixture, fitted", "LeNet-5 and two compressed models on MNIST"
    ),
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
    "structure.iterative": Measured(
        "structured_lenet",
        "LeNet-5 from {} to {} multiply-adds in two rounds: test error {}, dense {}",
        ("dense · macs", "shrunk · macs", "shrunk · test · error", "dense · test · error"),
    ),
    "structure.importance.linearized": ranked("linearized"),
    "structure.importance.taylor": ranked("taylor"),
    "structure.importance.taylor_squared": ranked("taylor_squared"),
    "structure.importance.second_order": ranked("second_order"),
    "graph.couplings": Measured(
        "coupling_time",
        "a transformer of 12 layers, 768 wide: coupled in {} s, scanned in {} s",
        ("couplings_seconds", "couplings_seconds (model=scanned)"),
        {"model": "unrolled"},
    ),
    "graph.surgery.shrink": Measured(
        "coupling_time",
        "a transformer of 12 layers, 768 wide: shrunk in {} s, scanned in {} s",
        ("shrink_seconds", "shrink_seconds (model=scanned)"),
        {"model": "unrolled"},
    ),
    "train.fit": Measured(
        "train_fit",
        "LeNet-300-100 at batch 128: {} ms of the processor a step, in chunks of 50 steps {}, by a "
        "loop in Python {}",
        tuple(
            f"{way} · processor_milliseconds_per_step"
            for way in ("fit", "fit, chunks of 50", "by hand")
        ),
        {"batch": "128", "held": "device"},
    ),
    "train.private_fit": Measured(
        "private_training",
        "a perceptron on 4,000 digits: test accuracy {} at an epsilon of {}, {} at {}",
        tuple(
            f"noise {noise} · {figure}"
            for noise in ("0.6", "2")
            for figure in ("accuracy · dense", "epsilon")
        ),
    ),
    "kernels.sign_matmul": Measured(
        "packed_bits",
        "three binary layers, 1,024 wide, at batch 32: {} ms of the processor, in float32 {} ms",
        ("packed · processor_ms", "float32 · processor_ms"),
        {"batch": "32", "width": "1024"},
    ),
    "storage.load": Measured(
        "load",
        "one array of 400 MiB in {} s and {} of the file's memory, by `safetensors.flax` {} and {}",
        (
            "jaxcompress · seconds",
            "jaxcompress · peak_of_file",
            "safetensors.flax · seconds",
            "safetensors.flax · peak_of_file",
        ),
        {"file": "one array"},
    ),
    "storage.save": Measured(
        "file_time", "90 MiB of float32 saved in {} s", ("after · save",), {"tree": "dense"}
    ),
    "storage.size": Measured(
        "file_time",
        "the bytes that 90 MiB of float32 take, found in {} s",
        ("after · size",),
        {"tree": "dense"},
    ),
    "storage.describe": Measured(
        "file_time",
        "a file of 90 MiB of float32 described in {} s",
        ("after · describe",),
        {"tree": "dense"},
    ),
    "validate.wilson": least_coverage("wilson", "coverage", "an accuracy"),
    "validate.paired_interval": least_coverage(
        "paired_interval", "coverage", "a difference of accuracies"
    ),
    "validate.bootstrap_interval": least_coverage("bootstrap_interval", "coverage", "a mean"),
    "validate.mean_interval": least_coverage("mean_interval", "coverage", "a mean"),
    "validate.skewed_mean_interval": least_coverage(
        "mean_interval", "coverage_of_skewed_mean_interval", "a mean"
    ),
    "validate.comparisons.auc_interval": least_coverage("auc", "coverage", "an AUC"),
    "validate.comparisons.compare_auc": most_errors("auc", "false_rejections"),
    "validate.comparisons.mcnemar": most_errors("mcnemar", "false_rejections"),
    "validate.comparisons.mcnemar_mid_p": most_errors("mcnemar", "false_rejections_mid_p"),
    "validate.comparisons.permutation_test": most_errors("permutation_test", "false_rejections"),
    "validate.comparisons.max_t": most_errors("many", "false_rejections"),
    "validate.comparisons.simultaneous_intervals": Measured(
        "error_rates",
        "at a confidence of 0.95 all intervals of 5 or 20 candidates hold in a share of {} of "
        "draws or more",
        ("min simultaneous_coverage",),
        {"part": "many"},
    ),
    "validate.comparisons.equivalence": Measured(
        "error_rates",
        "a loss of the margin is called not worse in a share of {} of draws at most, a difference "
        "of it the same in {}",
        ("max false_not_worse", "max false_equivalent"),
        {"part": "equivalence"},
    ),
    "validate.cross_validation.corrected_interval": Measured(
        "error_rates",
        "at a confidence of 0.95 it covers in a share of {} of draws or more, the plain t interval "
        "in {}",
        ("min coverage", "min coverage_of_plain_t"),
        {"part": "corrected_interval"},
    ),
    "validate.privacy.one_run_audit": Measured(
        "private_training",
        "1,000 canaries that a perceptron knows by heart: epsilon is at least {}, of one trained "
        "privately, whose account says {}, {}",
        tuple(
            f"{path} (batch=256)"
            for path in (
                "plain · audits · dense · epsilon",
                "noise 1 · epsilon",
                "noise 1 · audits · dense · epsilon",
            )
        ),
    ),
    "validate.shift.kolmogorov_smirnov": alarms("Kolmogorov-Smirnov"),
    "validate.shift.kernel_test": alarms("kernel"),
    "validate.shift.linear_kernel_test": alarms("kernel, linear time"),
    "validate.shift.classifier_test": alarms("classifier"),
    "validate.shift.population_stability": alarms("stability index"),
    "validate.shift.drift": alarms("all three (drift)"),
    "validate.shift.subgroups": Measured(
        "shift_tests",
        "of eight groups of 100 examples one with an accuracy of 0.75 where the others have 0.9: "
        "called different in a share of {} of draws, one of the others in {}",
        ("the last", "any of seven"),
        {"data": "groups", "worst": "0.75"},
    ),
    "validate.membership.attacks.lira_online": attacked("LiRA", ", by 64 shadow models"),
    "validate.membership.attacks.lira_offline": attacked("LiRA offline", ", by 64 shadow models"),
    "validate.membership.attacks.own_variance": attacked("LiRA, own variance"),
    "validate.membership.attacks.shared_variance": attacked("LiRA, shared variance"),
    "validate.membership.attacks.rmia": attacked("RMIA, 4 models", ", by four reference models"),
    "validate.membership.attacks.calibrated": attacked("calibrated loss"),
    "validate.membership.attacks.quantile_regression": attacked("quantile regression"),
    "validate.membership.attacks.shadow_classifier": attacked("shadow classifier"),
    "validate.membership.attacks.uncalibrated": attacked("loss"),
    **INTERVALS,
    "validate.leakage.exact": planted("exact", "images, tables and texts"),
    "validate.leakage.groups": planted("group", "images, tables and texts"),
    "validate.leakage.times": planted("time", "images, tables and texts"),
    "validate.leakage.near_images": planted("near", "photographs", data="cifar10"),
    "validate.leakage.near_rows": planted(
        "near", "a table of white wines", data="winequality-white"
    ),
    "validate.leakage.near_texts": planted("near", "WikiText-2", data="wikitext2"),
    "optimizers.linear8": state("linear8"),
    "optimizers.linear4": state("linear4"),
    "optimizers.bfloat16": state("stochastic_bfloat16"),
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
