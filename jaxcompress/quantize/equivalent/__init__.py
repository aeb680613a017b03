"""Transforms that leave the function unchanged and make its weights easier to round.

Each gives params of the same structure and a report; what may be moved or rotated is
found in the program by `graph.symmetries`.

    smooth              outlier channels of data into weights: SmoothQuant
    activation_aware    weights that meet large data scaled up: AWQ
    equalize            channels to one range, without data: cross-layer equalization
    fold_norms          scales of norms into the weights beside them
    correct_biases      what rounding took from mean outputs, after quantization
    rotate              outliers spread by random Hadamard matrices: QuaRot
    learn_rotations     matrices learned on the loss of the quantized model: SpinQuant

`per_site` gives the activations that `smooth` searches with for static ranges.
"""

# To read this family in order: `ways` (which scalings weights read), `samples` (what is
# kept of the data), `search` (strengths by error), `walk`, then the verbs.

from jaxcompress.core import exports
from jaxcompress.quantize.equivalent.activation_aware import activation_aware as activation_aware
from jaxcompress.quantize.equivalent.biases import correct_biases as correct_biases
from jaxcompress.quantize.equivalent.equalizing import equalize as equalize
from jaxcompress.quantize.equivalent.learning import learn_rotations as learn_rotations
from jaxcompress.quantize.equivalent.norms import fold_norms as fold_norms
from jaxcompress.quantize.equivalent.rotations import rotate as rotate
from jaxcompress.quantize.equivalent.smoothing import per_site as per_site
from jaxcompress.quantize.equivalent.smoothing import smooth as smooth

exports.list_imports(globals())
