"""What is said in a signal that never ends."""
