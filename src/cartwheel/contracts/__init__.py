"""What services say to each other: one file per owner, and the only place where services meet.

Whoever answers a request or publishes an event owns its message. Readers ignore fields that they
do not know, so a field may be added (with a default) at any time; anything else is a new version.
"""
