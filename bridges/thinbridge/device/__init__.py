"""Sans-IO client sides of the protocols: for `thinbridge send`, the check kit and tests."""
