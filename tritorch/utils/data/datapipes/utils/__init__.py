"""What pipes of files and of functions have in common."""
