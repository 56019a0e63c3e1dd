"""Machine states, each started for real in a network namespace of its own, and what discovery must say of them."""
