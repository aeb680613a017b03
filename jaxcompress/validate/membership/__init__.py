"""Membership inference: whether a model gives away which examples it was trained on.

Every attack gives one score per example; a higher score means a member.
"""

from jaxcompress.core import exports

exports.list_imports(globals())
