"""The place of the Kubernetes operator: OffsiteJob in, RayJob or Job out, status back.

Not written yet. It will stand on `offsite.api` and `offsite.errors` alone, so that its image needs
no torch, and it will never import `offsite_cli`.
"""
