"""The mathematics of the variational autoencoder: densities, priors, nets, bounds. No tables, no files, no training."""
