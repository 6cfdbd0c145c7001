"""`xbarverify doctor`."""

from rich.table import Table

from validation.commands.terminal import out
from validation.doctor import examine


def command() -> None:
    """Show what this machine has and what each missing thing costs."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for finding in examine():
        mark = "[green]ok[/]" if finding.well else "[yellow]![/]"
        table.add_row(
            mark,
            finding.what,
            f"{finding.found}. {finding.cost}" if finding.cost else finding.found,
        )
    out.print(table)
