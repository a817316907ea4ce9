"""Deploys many apps to Kubernetes at once, and resumes exactly what broke."""

__version__ = "0.12.0"
