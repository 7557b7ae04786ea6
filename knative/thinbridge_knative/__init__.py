"""The control plane: the `Bridge` resource, its controller, and `kn bridge`."""
