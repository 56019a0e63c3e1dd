"""Running agents: who may run now (slots), what is known already (cache), what happened (records)."""
