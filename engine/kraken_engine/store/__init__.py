"""What is kept on disk, and recordings played back through the live code."""
