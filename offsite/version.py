"""The version of offsite. An image runs the package without installing it."""

__version__ = "0.1.0"
