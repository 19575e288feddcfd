"""Diffusion models, and a mender made of one. Most of it needs PyTorch, which the ``diffusion`` extra brings."""

#: The model that ships with the package.
DEFAULT_MODEL = "default"
