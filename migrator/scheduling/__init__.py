"""Schedules: when a job runs, what is kept, and who is notified."""
