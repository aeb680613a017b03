"""Integer matrix products in plain JAX, which `quantize.plan_execution` times."""

from jaxcompress.core import exports
from jaxcompress.kernels.bits import pack_bits as pack_bits
from jaxcompress.kernels.bits import sign_matmul as sign_matmul
from jaxcompress.kernels.digit_sums import digits as digits
from jaxcompress.kernels.digit_sums import stack_digits as stack_digits
from jaxcompress.kernels.digit_sums import two_digit_matmul as two_digit_matmul
from jaxcompress.kernels.matmul import grouped_matmul as grouped_matmul
from jaxcompress.kernels.matmul import int8_matmul as int8_matmul
from jaxcompress.kernels.packed import packed_grouped_matmul as packed_grouped_matmul
from jaxcompress.kernels.packed import packed_matmul as packed_matmul

exports.list_imports(globals())
