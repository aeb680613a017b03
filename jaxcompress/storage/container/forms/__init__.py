"""Forms: how each kind of compressed leaf lies in a file, one file here for each kind.

A new kind is one file with its `Form` and one row of `FORMS` in `kinds`. Whatever is no
compressed leaf is one array or a Python number.
"""

from jaxcompress.storage.container.forms.kinds import FORMS as FORMS
from jaxcompress.storage.container.forms.kinds import form_of as form_of
from jaxcompress.storage.container.forms.low_rank import of_factors as of_factors
from jaxcompress.storage.container.forms.reading import outlined as outlined
from jaxcompress.storage.container.forms.reading import restored as restored
