"""The loopback YouTube: what the project's tests take for reality.

`LoopbackYouTube` (server.py) answers unmodified clients over TLS through a proxy on 127.0.0.1; `World` (world.py) says
which videos exist and what goes wrong; `Video` (videos.py) makes the files; `samples.py` makes whole worlds, and
`mirror.py` archives of their clips.
`python -m tests.youtube` shows a demo; `python -m tests.youtube -- COMMAND` runs any command against it.
"""
