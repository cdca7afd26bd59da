"""What one run of the emulator holds. Every part is given this, and keeps nothing elsewhere."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from emulator.arm.kinds import Kinds
from emulator.arm.operations import Operations
from emulator.arm.quota import Quota
from emulator.arm.resources import Resource, Resources
from emulator.arm.roles import Roles
from emulator.certificates import Certificates
from emulator.entra import Entra
from emulator.faults import Faults
from emulator.hosts import Hosts
from emulator.ledger import Ledger
from emulator.ml import MachineLearning
from emulator.settings import PROVIDERS, Settings
from emulator.storage import Storage
from emulator.trace import Trace

if TYPE_CHECKING:
    from emulator.arm.templates.execution import Templated

REGION = "eastus2"  # where a resource is that names no region


class Cloud:
    """A pretended Azure: its resources, its identities, its bill, and where it listens."""

    def __init__(self, folder: Path, settings: Settings | None = None) -> None:
        self.folder = folder
        self.settings = settings or Settings()
        self.certificates = Certificates(folder / "tls")
        self.entra = Entra(self.settings)
        self.resources = Resources()
        self.kinds = Kinds()
        self.faults = Faults()
        self.retained: dict[str, Resource] = {}  # removed, and their names still taken
        self.templated: list[Templated] = []
        self.operations = Operations(self.faults)
        self.ledger = Ledger()
        self.roles = Roles(self)
        self.quota = Quota(self)
        self.trace = Trace(folder / "trace.jsonl")
        self.hosts = Hosts(self)
        self.storage = Storage(self)
        self.ml = MachineLearning(self)
        self.tunnels: dict[str, int] = {}  # host name -> the port of a server with its own TLS
        always = ("Microsoft.Authorization", "Microsoft.Resources")
        self.registered = set(PROVIDERS if self.settings.registered else always)
        self.closing = ExitStack()  # whatever was started puts its end here
        self.tls_port = self.plain_port = self.proxy_port = 0  # set once they listen

    @property
    def subscription(self) -> str:
        """The id of the only subscription, as resource ids begin."""
        return f"/subscriptions/{self.settings.subscription}"

    @property
    def control(self) -> str:
        """The address of what only a test or a person asks: the ledger, the trace, the faults."""
        return f"http://127.0.0.1:{self.plain_port}"

    def environment(self) -> dict[str, str]:
        """Return the variables that bring Azure's names here, for all that the run starts."""
        authority = str(self.certificates.authority)
        return {
            "HTTPS_PROXY": f"http://127.0.0.1:{self.proxy_port}",
            "https_proxy": f"http://127.0.0.1:{self.proxy_port}",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "REQUESTS_CA_BUNDLE": authority,
            "SSL_CERT_FILE": authority,
            "CURL_CA_BUNDLE": authority,
            "NODE_EXTRA_CA_CERTS": authority,
            "AZURE_TENANT_ID": self.settings.tenant,
            "AZURE_CLIENT_ID": self.settings.caller,
            "AZURE_CLIENT_SECRET": self.settings.secret,
            "AZURE_SUBSCRIPTION_ID": self.settings.subscription,
            "AZURE_CONFIG_DIR": str(self.folder / "az"),
            "AZUREML_RUN_POLLING_INTERVAL_MIN": "1",
            "AZUREML_RUN_POLLING_INTERVAL_MAX": "1",
            "EMULATOR_CONTROL": self.control,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PATH": f"{Path(__file__).parent / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }

    def close(self) -> None:
        """End everything that was started, the latest first."""
        self.closing.close()
        self.operations.join()
        self.trace.close()
