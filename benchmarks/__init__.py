"""Timed, never asserted."""
