"""Delta tables, runs and versions: the only room that knows the table format."""
