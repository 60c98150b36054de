"""The command line: `cartwheel up | down | reset`. Each command's work lives elsewhere."""

import typer

from cartwheel.local import commands

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

app.command()(commands.up)
app.command()(commands.down)
app.command()(commands.reset)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
