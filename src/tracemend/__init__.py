"""tracemend finds what a tracer lost, says so, and reconstructs it with every event flagged as inferred."""

__version__ = "0.1.0"
