"""`xbarverify program`."""

from validation.commands.terminal import Timeout, TomlFile, Trust, bar, out
from validation.files.base import read_toml
from validation.files.write_file import WriteFile
from validation.write_array import write_array


def command(file: TomlFile, trust: Trust = False, timeout: Timeout = None) -> None:
    """Write an array of devices that differ, with and without verifying."""
    out.print(write_array(read_toml(file, WriteFile, trust=trust), progress=bar), soft_wrap=True)
