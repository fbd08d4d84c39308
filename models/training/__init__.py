"""Training a denoising network, from pictures to a folder that can be served."""
