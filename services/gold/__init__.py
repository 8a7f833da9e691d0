"""Refresh the analytics tables that a change set touches."""
