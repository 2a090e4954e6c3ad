"""Where documents come from: sites, files, functions; and readers that make records of pages."""
