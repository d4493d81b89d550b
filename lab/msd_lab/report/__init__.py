"""The pages, tables and sheets of comparisons."""
