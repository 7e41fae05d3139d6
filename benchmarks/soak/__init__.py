"""Endurance: a server that is attacked and killed, conversions and loads, and a Beam pipeline, for an hour or less."""
