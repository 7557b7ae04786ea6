"""The handler SDK: one function answers CoAP, MQTT and UDP devices."""
