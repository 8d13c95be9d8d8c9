"""Agents' sessions as their hosts' lifecycle events tell them: events -> turns -> active time -> time entries."""
