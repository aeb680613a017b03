"""Gradient transformations: the classics, small states, safe gradients.

Every optimizer is an optax transformation whose state is float32 by default or in a
`Storage`, whose arithmetic is float32, and whose updates have the gradients' dtype.
What optax has and needs nothing more (clipping by norm and by value, accumulation,
schedules, chains) is used from there.
"""

from jaxcompress.optimizers.adagrad import adagrad as adagrad
from jaxcompress.optimizers.adagrad import scale_by_adagrad as scale_by_adagrad
from jaxcompress.optimizers.adam import adam as adam
from jaxcompress.optimizers.adam import adamw as adamw
from jaxcompress.optimizers.adam import scale_by_adam as scale_by_adam
from jaxcompress.optimizers.amsgrad import amsgrad as amsgrad
from jaxcompress.optimizers.amsgrad import scale_by_amsgrad as scale_by_amsgrad
from jaxcompress.optimizers.clipping import clip_units as clip_units
from jaxcompress.optimizers.codes import BlockFormat as BlockFormat
from jaxcompress.optimizers.codes import Stored as Stored
from jaxcompress.optimizers.codes import dynamic8 as dynamic8
from jaxcompress.optimizers.codes import fp8 as fp8
from jaxcompress.optimizers.codes import linear4 as linear4
from jaxcompress.optimizers.codes import linear8 as linear8
from jaxcompress.optimizers.codes import stochastic_bfloat16 as stochastic_bfloat16
from jaxcompress.optimizers.decay import l1 as l1
from jaxcompress.optimizers.decay import l2 as l2
from jaxcompress.optimizers.decay import weight_decay as weight_decay
from jaxcompress.optimizers.guard import SkipState as SkipState
from jaxcompress.optimizers.guard import skip_nonfinite as skip_nonfinite
from jaxcompress.optimizers.leafwise import MomentsState as MomentsState
from jaxcompress.optimizers.leafwise import leafwise as leafwise
from jaxcompress.optimizers.lion import lion as lion
from jaxcompress.optimizers.lion import scale_by_lion as scale_by_lion
from jaxcompress.optimizers.loss_scale import LossScaleState as LossScaleState
from jaxcompress.optimizers.loss_scale import dynamic_loss_scale as dynamic_loss_scale
from jaxcompress.optimizers.loss_scale import scale_loss as scale_loss
from jaxcompress.optimizers.loss_scale import unscale as unscale
from jaxcompress.optimizers.momentum import heavy_ball as heavy_ball
from jaxcompress.optimizers.momentum import nesterov as nesterov
from jaxcompress.optimizers.momentum import scale_by_heavy_ball as scale_by_heavy_ball
from jaxcompress.optimizers.momentum import scale_by_nesterov as scale_by_nesterov
from jaxcompress.optimizers.momentum import sgd as sgd
from jaxcompress.optimizers.monitor import MonitorState as MonitorState
from jaxcompress.optimizers.monitor import Reading as Reading
from jaxcompress.optimizers.monitor import monitor as monitor
from jaxcompress.optimizers.monitor import read as read
from jaxcompress.optimizers.nadam import nadam as nadam
from jaxcompress.optimizers.nadam import scale_by_nadam as scale_by_nadam
from jaxcompress.optimizers.noise import NoiseState as NoiseState
from jaxcompress.optimizers.noise import gradient_noise as gradient_noise
from jaxcompress.optimizers.rmsprop import centered_rmsprop as centered_rmsprop
from jaxcompress.optimizers.rmsprop import rmsprop as rmsprop
from jaxcompress.optimizers.rmsprop import scale_by_centered_rmsprop as scale_by_centered_rmsprop
from jaxcompress.optimizers.rmsprop import scale_by_rmsprop as scale_by_rmsprop
from jaxcompress.optimizers.rounding import RoundingState as RoundingState
from jaxcompress.optimizers.rounding import round_params as round_params
from jaxcompress.optimizers.rounding import rounded_to_bfloat16 as rounded_to_bfloat16
from jaxcompress.optimizers.state import CompressedState as CompressedState
from jaxcompress.optimizers.state import large as large
from jaxcompress.optimizers.state import quantize_state as quantize_state
from jaxcompress.optimizers.storage import Storage as Storage
from jaxcompress.optimizers.storage import bfloat16 as bfloat16
from jaxcompress.optimizers.storage import float32 as float32
