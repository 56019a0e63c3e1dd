"""The pulumi command and its plugins: found, installed, or built from Go modules."""
