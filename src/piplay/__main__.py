"""``python -m piplay``: the command line."""

import sys

from piplay.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
