"""Reasons of a score, and changes that make a row normal."""
