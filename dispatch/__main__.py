"""`python -m dispatch`: one dispatcher, set up by the environment."""

import sys

from dispatch.main import main

if __name__ == "__main__":
    sys.exit(main())
