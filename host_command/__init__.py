"""Starts and stops the commands of this host that serve a stack (`allowHostCommands`): `python -m host_command`."""
