"""All kinds of compressed leaves that files hold, one row of `FORMS` for each."""

from typing import Any

from jaxcompress.core.messages import shown
from jaxcompress.storage.container import differences
from jaxcompress.storage.container.errors import FileError
from jaxcompress.storage.container.forms.codes import QUANTIZED
from jaxcompress.storage.container.forms.corrected import CORRECTED
from jaxcompress.storage.container.forms.form import Form
from jaxcompress.storage.container.forms.hashed import HASHED
from jaxcompress.storage.container.forms.low_rank import LOW_RANK
from jaxcompress.storage.container.forms.product_quantized import PRODUCT_QUANTIZED
from jaxcompress.storage.container.forms.random_code import RANDOM_CODE
from jaxcompress.storage.container.forms.rotated import ROTATED
from jaxcompress.storage.container.references import Difference, Product, Same, Signs

FORMS = (QUANTIZED, LOW_RANK, CORRECTED, ROTATED, HASHED, RANDOM_CODE, PRODUCT_QUANTIZED)
TO_ANOTHER_FILE = tuple(
    Form(kind, leaf, differences.fields_of, lambda leaf: leaf.parts, read, read)
    for kind, leaf, read in (
        ("same", Same, differences.same),
        ("difference", Difference, differences.difference),
        ("signs", Signs, differences.signs),
        ("product", Product, differences.product),
    )
)


def form_of(leaf: Any) -> Form | None:
    """The row of a compressed leaf; None for an array or a number."""
    forms = (*FORMS, *TO_ANOTHER_FILE)
    return next((form for form in forms if isinstance(leaf, form.type)), None)


def form_named(kind: str) -> Form:
    """The row of the kind that a file names.

    Raises:
      FileError: there is none.
    """
    for form in (*FORMS, *TO_ANOTHER_FILE):
        if form.kind == kind:
            return form
    known = ", ".join(form.kind for form in FORMS)
    raise FileError(f"there is no leaf of kind {shown(kind)}, only {known}. Update jaxcompress.")
