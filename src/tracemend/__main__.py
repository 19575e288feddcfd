"""``python -m tracemend``: the command line."""

from tracemend.cli.app import main

main()
