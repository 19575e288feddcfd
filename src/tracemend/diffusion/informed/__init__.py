"""Masked diffusion that begins with what others hold likely: of every hidden position it reads the candidates of those
who copy and of those who count, and says which of them it was.

``clues``: what is known of a gap, and how that is kept; ``network``: what reads it; ``lessons``: how it learns;
``answers``: what it says. What makes a mender of it is ``judging/informed.py``, as long as it is an experiment.
"""
