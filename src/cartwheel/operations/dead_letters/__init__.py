"""`cartwheel dlq`: list, show, replay and drop dead-lettered events.

dead_letter   one dead letter, and all that there is to show of it
queue         fetching dead letters, and requeuing those that were not acknowledged
audit         who replayed or dropped what, when and why
actions       replay and drop, without losing a message
listing       the list of dead letters, up to the requested length
display       output for people and for programs
work          what each command does, from connecting to the last line of output
commands      the command line
"""
