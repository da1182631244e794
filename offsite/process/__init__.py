"""The process: what it takes of its machine, how it is asked to end, and how it begins and ends."""
