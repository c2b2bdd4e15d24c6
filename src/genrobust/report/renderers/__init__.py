"""The forms of a report. Each shows the view and computes nothing."""
