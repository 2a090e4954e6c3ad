"""What the data is: tables, recipes, reports and errors. Imports nothing of ours."""
