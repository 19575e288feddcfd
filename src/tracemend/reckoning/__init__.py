"""What people count in a trace, and how sure that still is after a loss: calls, errors, times, by call, thread, cpu."""
