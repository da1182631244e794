"""Commands that manage jobs on a Kubernetes cluster.

`connection` finds the cluster, `api` speaks JSON to its API server, and `errors` translates what
the server answers. `job_status` and `printing` are pure. The other modules hold a command or a
family of commands each. Only `connection` and `api` import `kubernetes`, and only when a command
runs, so that `--help` and completion stay fast.
"""
