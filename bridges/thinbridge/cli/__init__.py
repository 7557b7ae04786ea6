"""The command line: `thinbridge run`, `dev`, `send`, `protocols`, `routes`. Nobody imports it."""
