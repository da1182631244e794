"""Looks up peers' bundles, and verifies them with public keys only."""
