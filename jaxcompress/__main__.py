"""`python -m jaxcompress`, the same as the `jaxcompress` command."""

import sys

from jaxcompress.cli import main

if __name__ == "__main__":
    sys.exit(main())
