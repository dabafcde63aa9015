"""What `make` runs; nothing here is part of the collection's run time."""
