"""Where the executor meets frameworks and servers."""
