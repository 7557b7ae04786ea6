"""Endpoints that a library drives: what it does of a session's duties, the library does not. See `base.Adapter`."""
