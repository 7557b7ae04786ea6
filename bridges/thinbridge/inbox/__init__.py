"""The bridge's HTTP side: pushes in, health, metrics."""
