"""Endpoints that a library drives: what it does of a session's duties, the library does not. See `base.Adapter`.

Those that have a library inside, below a core of ours (`coap`), are driven by a shell like any protocol.
"""
