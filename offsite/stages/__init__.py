"""The stages of an exchange: what each makes of its inputs, and how it reports on the way.

One module a stage; `run` puts its steps together in one process. What a stage needs of its
surroundings is a `Party`; what it tells goes to a `Monitor`. Opening and publishing, which need
keys and no torch, are in `steps`.
"""
