"""`python -m unfog`: the command line, where the program `unfog` is not installed, as in the images."""

from unfog.cli import main

if __name__ == "__main__":
    main()
