"""Doors to the outside, each with an optional extra of its own."""
