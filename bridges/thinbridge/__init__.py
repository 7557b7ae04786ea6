"""thinbridge: device protocols in, CloudEvents out, the function's answer back on the session."""

__version__ = "0.1.0"
