"""A process that replays all dead letters of a service. A test kills it on the way."""

import asyncio
import sys

from cartwheel.kernel import mongodb
from cartwheel.operations.dead_letters import actions, queue
from cartwheel.operations.dead_letters.audit import Audit, Line


def say(line: Line) -> None:
    sys.stdout.write(f"{line.event_id}\n")
    sys.stdout.flush()


async def main(service: str, rabbitmq_url: str, mongodb_uri: str, database: str) -> None:
    async with (
        mongodb.connect(mongodb_uri, process="tests") as client,
        queue.reach(rabbitmq_url) as connection,
    ):
        audit = Audit(mongodb.database(client, database))
        await actions.replay_all(connection, [service], rate=500, audit=audit, on_done=say)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
