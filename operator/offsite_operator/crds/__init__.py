"""Generates the CustomResourceDefinitions from the types of the core."""
