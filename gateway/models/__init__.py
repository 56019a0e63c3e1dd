"""The models that agents think with: which one an agent means, and how each provider is asked."""
