"""Go's ``/debug/pprof/`` for Python processes, over HTTP: what ``onlooker serve`` runs.

It needs the optional extra ``serve`` (aiohttp and prometheus-client).
"""
