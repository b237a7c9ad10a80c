"""Compares gipc with what one could use instead. Run it by ``make bench``."""
