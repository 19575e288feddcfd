"""The command line. ``tracemend`` and ``python -m tracemend`` begin here; nothing else imports it."""
