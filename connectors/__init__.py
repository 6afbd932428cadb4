"""One folder per shop system. Each could live in a repository of its own."""
