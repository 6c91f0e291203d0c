"""Video <-> Latent: a causal autoencoder that works on whole clips and on chunks with a carry."""
