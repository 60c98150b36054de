"""`cartwheel dlq`: events that were parked, looked at, replayed or dropped.

parked     one parked message, and why it lies there
queue      taking parked messages in hand, and giving them back
audit      who replayed or dropped what, when and why
actions    replay and drop: nothing is gone before it is somewhere else
listing    as much of what is parked as is asked for
display    all of this for people and for programs
work       what each command does, from connecting to its last line
commands   as typed by a person
"""
