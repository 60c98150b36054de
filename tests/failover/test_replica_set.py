"""The tests' replica set works as described: it survives the loss of one member, but not of two."""

from typing import Any

from pymongo import AsyncMongoClient

from ..replica_set import ReplicaSet


async def test_members_are_killed_stopped_frozen_and_started_by_name(members: ReplicaSet) -> None:
    async with AsyncMongoClient[dict[str, Any]](members.uri) as client:
        things = client["try"]["things"]
        first = await members.primary()
        await things.insert_one({"_id": "before"})

        await members.kill(first)
        second = await members.primary()
        assert second != first
        assert (await members.states())[first] == "DOWN"
        await things.insert_one({"_id": "with two"})

        await members.start(first)
        await members.healthy()
        await members.step_down()
        assert await members.primary() != second
        await things.insert_one({"_id": "after a step-down"})

        frozen, stopped = await members.secondaries()
        members.freeze(frozen)
        await members.stop(stopped)
        await members.start(stopped)
        await things.insert_one({"_id": "with one frozen"})
        members.thaw(frozen)
        await members.healthy()

        assert {thing["_id"] async for thing in things.find()} == {
            "before",
            "with two",
            "after a step-down",
            "with one frozen",
        }
