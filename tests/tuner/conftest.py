"""BoTorch is the yardstick of some tests here; importing it calls what torch has deprecated."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import botorch  # noqa: F401
