"""Floors: the minimum work of any system for a scenario, measured next to it.

Each part is measured alone, on this machine, with the scenario's number of connections (messages
and database calls with at most `measure.MOST_AT_ONCE`). `results.combined` adds up their times. A
floor does not check, log, route or validate.
"""
