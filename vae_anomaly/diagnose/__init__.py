"""Checks of the quality of a fitted model."""
