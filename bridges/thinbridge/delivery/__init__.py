"""Delivery: POST an event until its sink accepts it or its time is up."""
