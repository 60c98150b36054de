"""Floors: the least that any system must do for a scenario's work, measured beside it.

Each part is measured alone, on this machine, with as many at once as the scenario has connections
(of messages and database calls at most `measure.MOST_AT_ONCE`); `results.combined` adds up their
times. What a floor does not do: check, log, route, validate.
"""
