"""Drawings: one for each part of the encoder, and the map of them all."""
