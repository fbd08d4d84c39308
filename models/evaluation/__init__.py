"""Measuring a trained model: how good its pictures are, by sampler and number of steps."""
