"""Drift: differences between new rows and the training rows."""
