"""``python -m piplay``: the command line."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the current folder, whose files would hide libraries of the same name
    from piplay.cli.main import main

    sys.exit(main())
