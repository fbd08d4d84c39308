"""`python -m worker`: one worker, set up by the environment."""

import sys

from worker.main import main

if __name__ == "__main__":
    sys.exit(main())
