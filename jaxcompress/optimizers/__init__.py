"""Gradient transformations, from gradient descent to K-FAC.

    classic      each number by itself: SGD to AMSGrad and Lion
    matrix       kernels as matrices: Muon, SOAP, Shampoo
    curvature    Hessian diagonals, Newton, Gauss-Newton, L-BFGS
    kronecker    K-FAC
    memory       states in codes, factored, shared or low-rank; rounded params
    averages     schedule-free, lookahead, running means
    safety       clipping, guards, loss scaling, monitors, noise

All names are here, as in optax. Every optimizer is an optax transformation whose state
and arithmetic are float32, and whose updates have the gradients' dtype. Numbers may be
of Python, NumPy or JAX, or traced, as `optax.inject_hyperparams` gives them. Arguments
out of their range or of another kind are refused by name when the optimizer is built.
`quantize_state` around one keeps its state in fewer bits. What optax has and needs
nothing more (clipping by norm and by value, accumulation, schedules, chains) is used
from there.
"""

from jaxcompress.core import exports
from jaxcompress.optimizers.averages.averaging import AveragedState as AveragedState
from jaxcompress.optimizers.averages.averaging import averaged as averaged
from jaxcompress.optimizers.averages.averaging import evaluation_params as evaluation_params
from jaxcompress.optimizers.averages.lookahead import LookaheadState as LookaheadState
from jaxcompress.optimizers.averages.lookahead import lookahead as lookahead
from jaxcompress.optimizers.averages.schedule_free import ScheduleFreeState as ScheduleFreeState
from jaxcompress.optimizers.averages.schedule_free import schedule_free as schedule_free
from jaxcompress.optimizers.averages.schedule_free import schedule_free_adamw as schedule_free_adamw
from jaxcompress.optimizers.averages.schedule_free import schedule_free_sgd as schedule_free_sgd
from jaxcompress.optimizers.classic.adagrad import adagrad as adagrad
from jaxcompress.optimizers.classic.adagrad import scale_by_adagrad as scale_by_adagrad
from jaxcompress.optimizers.classic.adam import adam as adam
from jaxcompress.optimizers.classic.adam import adamw as adamw
from jaxcompress.optimizers.classic.adam import scale_by_adam as scale_by_adam
from jaxcompress.optimizers.classic.amsgrad import amsgrad as amsgrad
from jaxcompress.optimizers.classic.amsgrad import scale_by_amsgrad as scale_by_amsgrad
from jaxcompress.optimizers.classic.lion import lion as lion
from jaxcompress.optimizers.classic.lion import scale_by_lion as scale_by_lion
from jaxcompress.optimizers.classic.momentum import heavy_ball as heavy_ball
from jaxcompress.optimizers.classic.momentum import nesterov as nesterov
from jaxcompress.optimizers.classic.momentum import scale_by_heavy_ball as scale_by_heavy_ball
from jaxcompress.optimizers.classic.momentum import scale_by_nesterov as scale_by_nesterov
from jaxcompress.optimizers.classic.momentum import sgd as sgd
from jaxcompress.optimizers.classic.nadam import nadam as nadam
from jaxcompress.optimizers.classic.nadam import scale_by_nadam as scale_by_nadam
from jaxcompress.optimizers.classic.rmsprop import centered_rmsprop as centered_rmsprop
from jaxcompress.optimizers.classic.rmsprop import rmsprop as rmsprop
from jaxcompress.optimizers.classic.rmsprop import (
    scale_by_centered_rmsprop as scale_by_centered_rmsprop,
)
from jaxcompress.optimizers.classic.rmsprop import scale_by_rmsprop as scale_by_rmsprop
from jaxcompress.optimizers.constraints import clip_weights as clip_weights
from jaxcompress.optimizers.constraints import max_norm as max_norm
from jaxcompress.optimizers.curvature.adahessian import adahessian as adahessian
from jaxcompress.optimizers.curvature.adahessian import scale_by_adahessian as scale_by_adahessian
from jaxcompress.optimizers.curvature.curvature import CurvatureState as CurvatureState
from jaxcompress.optimizers.curvature.damping import NewtonState as NewtonState
from jaxcompress.optimizers.curvature.gauss_newton import gauss_newton as gauss_newton
from jaxcompress.optimizers.curvature.gauss_newton import (
    scale_by_gauss_newton as scale_by_gauss_newton,
)
from jaxcompress.optimizers.curvature.hessian import gauss_newton_bartlett as gauss_newton_bartlett
from jaxcompress.optimizers.curvature.hessian import hessian_vector as hessian_vector
from jaxcompress.optimizers.curvature.hessian import hutchinson as hutchinson
from jaxcompress.optimizers.curvature.lbfgs import LbfgsState as LbfgsState
from jaxcompress.optimizers.curvature.lbfgs import lbfgs as lbfgs
from jaxcompress.optimizers.curvature.lbfgs import scale_by_lbfgs as scale_by_lbfgs
from jaxcompress.optimizers.curvature.likelihoods import categorical as categorical
from jaxcompress.optimizers.curvature.likelihoods import gaussian as gaussian
from jaxcompress.optimizers.curvature.newton import newton_cg as newton_cg
from jaxcompress.optimizers.curvature.newton import scale_by_newton_cg as scale_by_newton_cg
from jaxcompress.optimizers.curvature.sophia import scale_by_sophia as scale_by_sophia
from jaxcompress.optimizers.curvature.sophia import sophia as sophia
from jaxcompress.optimizers.decay import l1 as l1
from jaxcompress.optimizers.decay import l2 as l2
from jaxcompress.optimizers.decay import weight_decay as weight_decay
from jaxcompress.optimizers.kronecker.factors import Factors as Factors
from jaxcompress.optimizers.kronecker.fisher import kfac_factors as kfac_factors
from jaxcompress.optimizers.kronecker.kfac import KfacState as KfacState
from jaxcompress.optimizers.kronecker.kfac import kfac as kfac
from jaxcompress.optimizers.kronecker.kfac import scale_by_kfac as scale_by_kfac
from jaxcompress.optimizers.kronecker.kl_clipping import KlState as KlState
from jaxcompress.optimizers.kronecker.kl_clipping import clip_kl as clip_kl
from jaxcompress.optimizers.kronecker.layers import KfacLayer as KfacLayer
from jaxcompress.optimizers.kronecker.layers import KfacLayers as KfacLayers
from jaxcompress.optimizers.kronecker.layers import kfac_layers as kfac_layers
from jaxcompress.optimizers.leafwise import MomentsState as MomentsState
from jaxcompress.optimizers.leafwise import leafwise as leafwise
from jaxcompress.optimizers.matrix.matrices import hidden as hidden
from jaxcompress.optimizers.matrix.muon import muon as muon
from jaxcompress.optimizers.matrix.muon import orthogonalized as orthogonalized
from jaxcompress.optimizers.matrix.muon import scale_by_muon as scale_by_muon
from jaxcompress.optimizers.matrix.scales import adam_scale as adam_scale
from jaxcompress.optimizers.matrix.scales import spectral_scale as spectral_scale
from jaxcompress.optimizers.matrix.shampoo import ShampooState as ShampooState
from jaxcompress.optimizers.matrix.shampoo import scale_by_shampoo as scale_by_shampoo
from jaxcompress.optimizers.matrix.shampoo import shampoo as shampoo
from jaxcompress.optimizers.matrix.soap import SoapState as SoapState
from jaxcompress.optimizers.matrix.soap import scale_by_soap as scale_by_soap
from jaxcompress.optimizers.matrix.soap import soap as soap
from jaxcompress.optimizers.memory.adam_mini import adam_mini as adam_mini
from jaxcompress.optimizers.memory.adam_mini import scale_by_adam_mini as scale_by_adam_mini
from jaxcompress.optimizers.memory.codes import BlockFormat as BlockFormat
from jaxcompress.optimizers.memory.codes import Stored as Stored
from jaxcompress.optimizers.memory.codes import bfloat16 as bfloat16
from jaxcompress.optimizers.memory.codes import dynamic8 as dynamic8
from jaxcompress.optimizers.memory.codes import fp8 as fp8
from jaxcompress.optimizers.memory.codes import linear4 as linear4
from jaxcompress.optimizers.memory.codes import linear8 as linear8
from jaxcompress.optimizers.memory.factored import adafactor as adafactor
from jaxcompress.optimizers.memory.factored import scale_by_factored as scale_by_factored
from jaxcompress.optimizers.memory.galore import GaloreState as GaloreState
from jaxcompress.optimizers.memory.galore import galore as galore
from jaxcompress.optimizers.memory.rounding import RoundingState as RoundingState
from jaxcompress.optimizers.memory.rounding import round_params as round_params
from jaxcompress.optimizers.memory.rounding import rounded_to_bfloat16 as rounded_to_bfloat16
from jaxcompress.optimizers.memory.state import CompressedState as CompressedState
from jaxcompress.optimizers.memory.state import large as large
from jaxcompress.optimizers.memory.state import quantize_state as quantize_state
from jaxcompress.optimizers.safety.clipping import clip_units as clip_units
from jaxcompress.optimizers.safety.guard import SkipState as SkipState
from jaxcompress.optimizers.safety.guard import check_skips as check_skips
from jaxcompress.optimizers.safety.guard import skip_nonfinite as skip_nonfinite
from jaxcompress.optimizers.safety.loss_scale import LossScaleState as LossScaleState
from jaxcompress.optimizers.safety.loss_scale import dynamic_loss_scale as dynamic_loss_scale
from jaxcompress.optimizers.safety.loss_scale import scale_loss as scale_loss
from jaxcompress.optimizers.safety.loss_scale import unscale as unscale
from jaxcompress.optimizers.safety.monitor import MonitorState as MonitorState
from jaxcompress.optimizers.safety.monitor import Reading as Reading
from jaxcompress.optimizers.safety.monitor import monitor as monitor
from jaxcompress.optimizers.safety.monitor import read as read
from jaxcompress.optimizers.safety.noise import NoiseState as NoiseState
from jaxcompress.optimizers.safety.noise import gradient_noise as gradient_noise

exports.list_imports(globals())
