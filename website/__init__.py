"""What `make docs` adds to docs/: pages made of the code, and links that hold."""
