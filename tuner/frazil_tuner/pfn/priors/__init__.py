"""Priors: whole studies drawn in batches on the device, without a loop over studies."""
