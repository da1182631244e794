"""Jobs on a cluster: what `kubectl` could do as well, and says better.

`access` finds the cluster, `api` speaks to it in plain JSON, `refusals` turns its answers into our
errors; `facts`, `differences`, `flags` and `rows` are pure; the other modules are a command or a
family of commands each. `kubernetes` is imported by `access` and `api` alone, when they are called.
"""
