"""What everything speaks of: events, gaps and traces, names of system calls, vocabularies, windows."""
