"""What a teacher answers over a data set, computed once and kept on disk.

    computed and opened     fill, which goes on where it was cut; read, without teacher
    what is kept            whole, top_k, draws; a Content of your own
    what comes back         Rows, read from the disk as a batch asks for them

A folder holds `manifest.json` and one folder of plain .npy files for every few batches.
"""

from jaxcompress.core import exports
from jaxcompress.train.teacher_cache.contents import Content as Content
from jaxcompress.train.teacher_cache.contents import top_k as top_k
from jaxcompress.train.teacher_cache.contents import whole as whole
from jaxcompress.train.teacher_cache.drawn import draws as draws
from jaxcompress.train.teacher_cache.filling import fill as fill
from jaxcompress.train.teacher_cache.filling import read as read
from jaxcompress.train.teacher_cache.rows import Rows as Rows

exports.list_imports(globals())
