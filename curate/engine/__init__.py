"""Plans a recipe and runs a table's steps over shards: the only room that runs stages."""
