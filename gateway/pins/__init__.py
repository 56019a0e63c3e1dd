"""Tool pins: what a server's tools were like when somebody accepted them, and what has changed since.

`judge` is pure, and so is all that it uses; `guard` asks it for every list of tools that arrives.
"""
