"""The demonstration: one procedural room, looked at and asked about."""
