"""The model that comes with the package, and how a fastText model is opened."""
