"""What peers sent, verified with public keys alone."""
