"""Which image each service runs, and how one is made where no registry answers."""
