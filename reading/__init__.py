"""How text from outside is read and shown: bounded, strict, with line numbers, and never with its secrets."""
