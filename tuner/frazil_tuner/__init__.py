"""The core of Frazil: trials in, suggestions out. No HTTP, no database, no clock, no global randomness."""
