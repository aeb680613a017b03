"""How large the compiled update of an optimizer with its state in codes is."""

import jax
import jax.numpy as jnp
import optax

from jaxcompress.optimizers import quantize_state


def compiled_lines(layers: int) -> int:
    optimizer = quantize_state(optax.trace(0.9))
    params = {str(layer): jnp.ones((64, 64)) for layer in range(layers)}
    state = jax.eval_shape(optimizer.init, params)
    program = jax.jit(optimizer.update).lower(params, state, params).compile()
    return len((program.as_text() or "").splitlines())


def test_it_grows_as_the_number_of_arrays():
    """Arrays wait for one another, and XLA must not fuse each with all before it."""
    assert 0 < compiled_lines(8) <= 2.2 * compiled_lines(4)
