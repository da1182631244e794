"""`make gpu-folder`: everything that a GPU machine without network needs, and one command for it.

The command tests that offsite is correct on the GPU, and measures how efficient it is there.
"""
