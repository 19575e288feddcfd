"""The command line: one file a verb. ``tracemend`` and ``python -m tracemend`` begin here; nothing else imports it."""
