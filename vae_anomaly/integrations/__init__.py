"""Doors to the outside, each an optional extra of its own."""
