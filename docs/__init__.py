"""The pages, and what writes two of them and checks the links of all."""
