"""Decisions about one job, as pure functions of its observed state."""
