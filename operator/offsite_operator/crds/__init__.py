"""The CustomResourceDefinitions, generated from the types of the core."""
