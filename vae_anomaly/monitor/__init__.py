"""Whether new rows still come from the distribution of the training rows."""
