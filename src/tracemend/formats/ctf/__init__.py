"""CTF 1.8, as LTTng, perf and others write it: a folder with metadata that says how its stream files are to be read.

``tsdl`` reads the metadata into ``types``, ``decode`` makes code of them that reads events, ``packets`` finds the
packets and what was lost, ``reader`` makes a Trace of it all.
"""

from tracemend.formats.ctf.reader import FORMAT

__all__ = ["FORMAT"]
