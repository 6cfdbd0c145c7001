"""`xbarverify train`."""

from pathlib import Path
from typing import Annotated

import typer

from nnmap.measures.mapping_accuracy import FORMS
from nnmap.networks.pretrained import batches, images, train_network
from validation.commands.terminal import bar, out


def command(
    name: Annotated[str, typer.Argument(help="as in nnmap/catalogue.py", show_default=False)],
    folder: Annotated[Path, typer.Option("-o", help="write weights and manifest here")],
    full: Annotated[bool, typer.Option("--full", help="the paper's size, not the shipped")] = False,
    device: Annotated[str, typer.Option(help="where torch computes: cpu, cuda")] = "cpu",
) -> None:
    """Train a network of the papers; write its weights and a manifest with its accuracies."""
    data = images(name)
    with bar("training, batches", batches(name, data, full=full)) as done:
        found = train_network(name, folder, data=data, full=full, device=device, on_batch=done)
    shown = ", ".join(f"{form} {100 * found['test_accuracy'][form]:.2f} %" for form in FORMS)
    out.print(f"{name} ({found['setting']}): {shown}", highlight=False, soft_wrap=True)
    out.print(f"weights: {folder / name}.safetensors", soft_wrap=True)
