"""From trained weights to answers: scores, thresholds, codes and new rows."""
