"""One file a thing that is read, whoever asks."""
