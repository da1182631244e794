"""Logs of a job's pods, kept in the party's private store beyond the pods.

Each pod keeps its own log while it runs (`supervisor`), as chunks of JSON lines: a pod that is
killed loses at most the last seconds. Steps with keys write to `logs/<uid of the job>/`. The step
that trains may write only to `work/<uid>/`, so its logs are in `work/<uid>/log/` until a step with
keys copies them (`kept.collect`), and are never believed to be of another step.

A kept log has neither the mark of the pod's events nor the secrets that the pod knows
(`redaction`).
"""
