"""Protocol cores, sans-IO. `base` is the interface; `udp` the smallest implementation."""
