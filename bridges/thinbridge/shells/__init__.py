"""All the sockets of listeners: thin shells around sans-IO protocols."""
