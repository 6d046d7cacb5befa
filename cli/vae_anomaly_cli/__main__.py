"""``python -m vae_anomaly_cli`` is ``vae-anomaly``."""

from vae_anomaly_cli.main import main

if __name__ == "__main__":
    main()
