"""The Kubernetes operator: an OffsiteJob in, Jobs and RayJobs out, their story back as its status.

`reconcile` decides, purely, from what was `observed`; `applying` does it; `handlers` and `resync`
say when. It never imports `offsite_cli`, and needs no torch.
"""
