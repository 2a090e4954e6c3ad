"""Training sets made of a corpus: `[exports.NAME]` of a recipe."""
