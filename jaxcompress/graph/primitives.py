"""What kind of primitive is it: entry by entry, or one that runs an inner program.

Names, since the primitives of one JAX release do not all exist in another.
"""

_POINTWISE = """
    abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil
    clamp clz complex conj convert_element_type copy copy_p cos cosh device_put digamma div eq
    eq_to erf erf_inv erfc exp exp2 expm1 floor ge gt igamma igamma_grad_a igammac imag
    integer_pow is_finite le le_to lgamma log log1p log2 logistic lt lt_to max mesh_cast min mul
    name ne neg nextafter not one_minus_square or pcast polygamma polynomial population_count pow
    pvary real
    reduce_precision regularized_incomplete_beta rem reshard round rsqrt select_n
    sharding_constraint shift_left shift_right_arithmetic shift_right_logical sign sin sinh sqrt
    square stop_gradient sub tan tanh xor zeta
"""

_ENTRY_KEEPING = """
    convert_element_type copy copy_p device_put mesh_cast name neg pcast pvary reduce_precision
    reshard sharding_constraint stop_gradient
"""

POINTWISE = frozenset(_POINTWISE.split())
"""Each entry of the output depends on the entries at the same place in the operands."""

ENTRY_KEEPING = frozenset(_ENTRY_KEEPING.split())
"""Of those, what changes the dtype or the sign of an entry at most."""

INLINE_CALLS = frozenset(("call", "closed_call", "core_call", "eval_jaxpr"))
"""Calls that mean no more than their body."""

PLAIN_CALLS = INLINE_CALLS | {"checkpoint", "jit", "remat2"}
"""Calls that leave the gradient of their body as it is."""

CALLS = PLAIN_CALLS | {"custom_jvp_call", "custom_vjp_call"}
"""Calls whose operands and results are those of one inner program, in order."""
