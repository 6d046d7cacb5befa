"""From trained weights to answers: scores, p-values, thresholds and imputed cells."""
