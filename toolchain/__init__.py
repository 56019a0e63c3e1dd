"""Set-up on a fresh machine: every part is found before it is fetched, and fetched before it is built.

Runs with the system's python3 (3.11 or later) and the standard library alone, because nothing else is there yet.
"""
