"""Losses on what the model answers: per example, never reduced.

A loss takes the student's outputs, then the teacher's, which get no gradient, and
computes in float32. Temperatures, weights and skews are Python numbers or traced ones,
such as the value of a schedule at a step. Where some examples do not count, as
padding, sum with `where=` and divide by their number, see `distill.counted`.
"""

from jaxcompress.core import exports
from jaxcompress.distill.outputs.boxes import box_overlap as box_overlap
from jaxcompress.distill.outputs.correlations import inter_class_relation as inter_class_relation
from jaxcompress.distill.outputs.correlations import intra_class_relation as intra_class_relation
from jaxcompress.distill.outputs.decoupled import decoupled_targets as decoupled_targets
from jaxcompress.distill.outputs.divergences import alpha_divergence as alpha_divergence
from jaxcompress.distill.outputs.divergences import reverse_kl as reverse_kl
from jaxcompress.distill.outputs.draws import Draws as Draws
from jaxcompress.distill.outputs.draws import draws as draws
from jaxcompress.distill.outputs.draws import sampled_targets as sampled_targets
from jaxcompress.distill.outputs.mixtures import jensen_shannon as jensen_shannon
from jaxcompress.distill.outputs.mixtures import skewed_kl as skewed_kl
from jaxcompress.distill.outputs.mixtures import skewed_reverse_kl as skewed_reverse_kl
from jaxcompress.distill.outputs.multi_label import multi_label_targets as multi_label_targets
from jaxcompress.distill.outputs.regression import bounded_distance as bounded_distance
from jaxcompress.distill.outputs.regression import huber_distance as huber_distance
from jaxcompress.distill.outputs.regression import squared_distance as squared_distance
from jaxcompress.distill.outputs.segmentation import mask_targets as mask_targets
from jaxcompress.distill.outputs.segmentation import soft_dice as soft_dice
from jaxcompress.distill.outputs.smoothing import smoothed_labels as smoothed_labels
from jaxcompress.distill.outputs.standardized import standardized_targets as standardized_targets
from jaxcompress.distill.outputs.targets import hard_targets as hard_targets
from jaxcompress.distill.outputs.targets import soft_targets as soft_targets
from jaxcompress.distill.outputs.top_k import TopK as TopK
from jaxcompress.distill.outputs.top_k import top_k as top_k
from jaxcompress.distill.outputs.top_k import top_k_targets as top_k_targets
from jaxcompress.distill.outputs.transformed import transformed_targets as transformed_targets

exports.list_imports(globals())
