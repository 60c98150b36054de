"""The command line: a table of commands. Each one's work lives where its name says."""

import sys

import typer

try:
    from cartwheel.local import commands as local
    from cartwheel.operations import commands as operations
    from cartwheel.operations.dead_letters.commands import dlq
    from cartwheel.operations.verify.command import verify
except KeyboardInterrupt:  # importing takes a moment, and a Ctrl-C in it is no stack trace either
    sys.exit(130)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Run and look after Cartwheel, an online shop's backend.",
)

app.command()(local.up)
app.command()(local.down)
app.command()(local.reset)
app.command()(operations.setup)
app.command()(operations.demo)
app.command()(verify)
app.add_typer(operations.mail, name="mail")
app.add_typer(operations.admin, name="admin")
app.add_typer(dlq, name="dlq")


def main() -> None:
    app()


if __name__ == "__main__":
    main()
