"""Pulumi ComponentResources: what a plan decided, as resources. Nothing here reads configuration or exports."""
