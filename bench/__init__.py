"""Measurements of what users wait for, each as a ratio or against a limit within one run."""
