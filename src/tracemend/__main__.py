"""``python -m tracemend``: the command line."""

from tracemend.cli import main

main()
