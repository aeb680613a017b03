"""Budgets for the whole model: parameters, bytes, multiply-adds."""

from jaxcompress.core.checks import check_positive
from jaxcompress.structure.amounts.amount import Amount
from jaxcompress.structure.amounts.narrowing import down_to
from jaxcompress.structure.widths import (
    byte_prices,
    mac_prices,
    parameter_prices,
    shrunk_macs,
    shrunk_parameters,
    shrunk_size_bytes,
)


def within_parameters(limit: int) -> Amount:
    """Removes as few units as bring the model down to a number of parameters.

    Not for: speed, or leaves of several dtypes; `within_macs` counts products,
    `within_bytes` bytes.

    Also known as: parameter budget, global structured pruning.

    Each step removes the units whose score is least for the numbers they save, as
    the model then is. Scores should be comparable between families: rises of a loss
    are, others after `normalized`. The model that is left fits, and without the last
    step it would not.

    Args:
      limit: numbers in all leaves, at most; above 0.

    Returns:
      Amount.

    Raises:
      ValueError: `limit` is not above 0 and finite; when applied and before anything
        is scored, the floors leave more: says how much.

    Source: Molchanov et al. 2017, arXiv:1611.06440, section 2.2, weighs scores against
    costs. Differs: as a ratio, and the cost is that of the model as it then is.
    """
    check_positive("within_parameters", "limit", limit)
    call = f"within_parameters(limit={limit})"
    return down_to(call, limit, parameter_prices, shrunk_parameters, "{:,} parameters".format)


def within_bytes(limit: int) -> Amount:
    """Removes as few units as bring the model down to a number of bytes in memory.

    As `within_parameters`, for what they save of bytes.

    Args:
      limit: bytes of all leaves, at most; above 0.

    Returns:
      Amount.

    Raises:
      ValueError: as `within_parameters`.
    """
    check_positive("within_bytes", "limit", limit)
    call = f"within_bytes(limit={limit})"
    return down_to(call, limit, byte_prices, shrunk_size_bytes, "{:,} bytes".format)


def within_macs(limit: int) -> Amount:
    """Removes as few units as bring one call down to a number of multiply-adds.

    Not for: the time of a call: at half of them a small ResNet was no faster at batch
    1; `within_latency` measures it.

    Also known as: FLOPs budget, MACs budget.

    As `within_parameters`, for what they save of multiply-adds. These are counted on
    the shrunk program itself, for the given inputs: pass one example
    to count per example.

    Args:
      limit: multiply-adds at all sites, at most; above 0.

    Returns:
      Amount.

    Raises:
      ValueError: as `within_parameters`.
    """
    check_positive("within_macs", "limit", limit)
    call = f"within_macs(limit={limit})"
    shown = "{:,} multiply-adds on these inputs".format
    return down_to(call, limit, mac_prices, shrunk_macs, shown)
