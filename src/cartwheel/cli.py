"""The command line: a table of commands.

The modules imported here only declare arguments and options. A command imports its work when it
starts, so `--help` and a mistyped option are answered at once.
"""

import sys
from typing import Annotated

try:
    import typer

    from cartwheel.kernel import install_wait_for
    from cartwheel.local import commands as local
    from cartwheel.local.cluster.commands import cluster
    from cartwheel.operations import commands as operations
    from cartwheel.operations import goods_commands as goods
    from cartwheel.operations import payment_commands, refund_commands, simulator_commands
    from cartwheel.operations.dead_letters.commands import dlq
    from cartwheel.operations.verify.command import verify
except KeyboardInterrupt:  # imports take a moment: a Ctrl-C must not print a stack trace
    sys.exit(130)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"cartwheel {version('cartwheel')}")
        raise typer.Exit


@app.callback()
def cartwheel(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Run and operate Cartwheel, the backend of an online shop."""


app.command()(local.up)
app.command()(local.down)
app.command()(local.reset)
app.add_typer(cluster, name="cluster")
app.command()(operations.setup)
app.command()(operations.demo)
app.command()(verify)
app.add_typer(operations.mail, name="mail")
app.add_typer(operations.orders, name="orders")
app.add_typer(payment_commands.payments, name="payments")
app.command()(refund_commands.refund)
app.command()(refund_commands.disputes)
app.add_typer(goods.ship, name="ship")
app.add_typer(goods.returns, name="returns")
app.add_typer(operations.stock, name="stock")
app.add_typer(simulator_commands.simulator, name="simulator")
app.add_typer(operations.users, name="users")
app.add_typer(operations.admin, name="admin")
app.add_typer(dlq, name="dlq")


def main() -> None:
    install_wait_for()
    app()


if __name__ == "__main__":
    main()
