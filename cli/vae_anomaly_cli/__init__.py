"""The command line of vae-anomaly: one file a command, each a thin layer over one or two library calls."""
