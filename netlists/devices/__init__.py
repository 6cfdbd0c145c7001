"""Resistive memories: what they are electrically, in Python and in SPICE.

Each model states where its numbers come from and refuses values that have no physical meaning.
"""

from netlists.devices.dynamic import NOMINAL, Deviation, DeviceSpread, DynamicRram
from netlists.devices.ohmic import OhmicRram
from netlists.devices.rram import DeviceCard, Rram, require_positive
from netlists.devices.sinh import SinhConduction, SinhRram
from netlists.devices.vteam import VteamRram
from netlists.devices.yakopcic import YakopcicRram

__all__ = [
    "NOMINAL",
    "Deviation",
    "DeviceCard",
    "DeviceSpread",
    "DynamicRram",
    "OhmicRram",
    "Rram",
    "SinhConduction",
    "SinhRram",
    "VteamRram",
    "YakopcicRram",
    "require_positive",
]
