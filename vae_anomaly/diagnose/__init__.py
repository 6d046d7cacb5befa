"""Whether a fitted model is any good."""
