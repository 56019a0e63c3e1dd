"""Turn a plan into the texts that workloads read. Pure: same plan, same text."""
