"""The command `offsite`, also a kubectl plugin: thin commands over the core."""
