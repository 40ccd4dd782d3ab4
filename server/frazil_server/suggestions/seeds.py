"""Seeds that can be told again: from the study's seed, the version of its data, and a serial number."""

from __future__ import annotations

from hashlib import blake2b


def seed_of(study_seed: int, data_version: int, serial: int) -> int:
    """A 53-bit seed, which every JSON reader can hold. Every suggestion stores its own, so that it can be asked
    again.
    """
    digest = blake2b(f"{study_seed}:{data_version}:{serial}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 11
