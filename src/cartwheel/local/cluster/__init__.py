"""The whole system as a cluster on one machine. Its nodes can be killed, frozen and cut off.

    async with cluster(home) as shop:
        await shop.kill("rabbitmq.1")
        await shop.heal("rabbitmq.1")
        await shop.healthy()

`docs/cluster.md` shows it from the command line.
"""
