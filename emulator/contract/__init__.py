"""Every request and every answer, held against the types that Microsoft publishes.

    for deviation in deviations(cloud): print(deviation)

The types are those of the Bicep project, in a folder that is no part of the project: the one that
HIENO_AZURE_SCHEMAS names, else `../shared/azure-schemas`. Without it nothing is checked, and
`published()` says so.
"""

from __future__ import annotations

from emulator.contract.checks import Deviation, deviations
from emulator.contract.published import published

__all__ = ["Deviation", "deviations", "published"]
