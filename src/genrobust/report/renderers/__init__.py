"""The forms of a report: each shows the view, and computes nothing."""
