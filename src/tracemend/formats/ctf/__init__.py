"""CTF 1.8, as LTTng, perf and others write it: a folder with metadata that says how its stream files are to be read.

``folders`` finds metadata and stream files. Metadata: ``metadata_file`` unpacks the text, ``tokens`` cuts it up,
``declarations`` makes ``types`` of it and ``tsdl`` the streams, events and clocks that ``metadata`` holds.

Code that reads: ``source``, ``chunks``, ``names`` and ``fields`` write it for types, it calls ``values``, and
``decode`` makes of it what reads a packet's header and events.

Events: ``packets`` finds the packets and what was lost, ``streams`` joins and numbers their streams, ``stream_events``
decodes one, ``batches`` merges them, ``event_names`` knows system calls. ``windows`` chooses the packets around losses,
``glance`` needs none of their events, ``reader`` makes a Trace of it all.
"""

from tracemend.formats.ctf.reader import FORMAT

__all__ = ["FORMAT"]
