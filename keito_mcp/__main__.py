"""`python -m keito_mcp` is the command `keito-mcp`."""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    # `-m` puts the current folder first, which may be anybody's repository. Only `-P` or `-I` keeps a
    # `keito_mcp` in there from being this one.
    del sys.path[0]

from keito_mcp.cli import main

if __name__ == "__main__":
    sys.exit(main())
