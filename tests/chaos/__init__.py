"""`make chaos`: what is killed, taken away or called off in the middle; see `__main__`."""
