"""Brings what lies elsewhere onto this machine: pinned, checked, and kept for the next time."""
