"""What is right, what people get wrong, and what is said about it."""
