"""From beliefs to fills: a trace's gaps filled by the likeliest events that can be true."""
