"""`python -m keito_mcp` is the command `keito-mcp`."""

import sys

from keito_mcp.cli import main

if __name__ == "__main__":
    sys.exit(main())
