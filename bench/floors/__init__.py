"""Floors: the least that any system must do for a scenario's work, measured beside it.

Each part is measured alone, on this machine, with as many at once as the scenario has connections
(at most `measure.MOST_AT_ONCE` messages and database calls); `results.combined` adds up their times.
 What a floor does not do: check, log, route, validate.
"""
