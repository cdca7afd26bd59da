"""Where keys are off, what an identity may do decides whether jobs run and deployments serve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: azure-ai-ml has no types

import ground
import httpx
import pytest
from ground import write

from emulator.arm.ids import ResourceId
from emulator.cloud import Cloud

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

READER, CONTRIBUTOR = "Storage Blob Data Reader", "Storage Blob Data Contributor"
WHO = """\
from azure.identity import ManagedIdentityCredential
from azure.storage.blob import BlobServiceClient

blobs = BlobServiceClient("https://wsstorage.blob.core.windows.net", ManagedIdentityCredential())
print("containers", "azureml" in [one.name for one in blobs.list_containers()])
"""


@pytest.fixture(scope="module")
def workspace(azure: Cloud) -> ResourceId:
    made = ground.make_workspace(azure, by_identity=True)
    identity = ground.make_identity(azure, "jobs")
    ground.make_cluster(azure, made, name="nobody")
    ground.make_cluster(azure, made, name="somebody", identity=identity.id.text)
    return made


@pytest.fixture(scope="module")
def ml(ml: MLClient) -> MLClient:
    ground.make_environment(ml)
    return ml


def run(azure: Cloud, ml: MLClient, workspace: ResourceId, cluster: str, code: str) -> Any:
    from azure.ai.ml import command

    job = command(code=code, command="python main.py", environment="e:1", compute=cluster)
    found = azure.ml.runs.require(workspace, ml.jobs.create_or_update(job).name)
    assert found.over.wait(30)
    return found


def principal(azure: Cloud, name: str) -> Any:
    group = f"{azure.subscription}/resourceGroups/{ground.GROUP}"
    kind = "Microsoft.ManagedIdentity/userAssignedIdentities"
    found = azure.resources.require(f"{group}/providers/{kind}/{name}")
    return azure.entra.find(found.properties["principalId"])


def storage(azure: Cloud) -> str:
    found = azure.storage.resource(ground.STORAGE)
    assert found is not None
    return found.id.text


def test_a_cluster_needs_an_identity_and_the_identity_a_role(
    azure: Cloud, ml: MLClient, workspace: ResourceId, tmp_path: Path
) -> None:
    code = write(tmp_path, main_py=WHO)
    refused = run(azure, ml, workspace, "nobody", code)
    assert "the cluster 'nobody' has none" in refused.error["message"]
    refused = run(azure, ml, workspace, "somebody", code)
    assert "it needs the role Storage Blob Data Contributor" in refused.error["message"]
    azure.roles.grant(principal(azure, "jobs"), CONTRIBUTOR, storage(azure))
    done = run(azure, ml, workspace, "somebody", code)
    log = azure.ml.runs.artifacts(done).signed("user_logs/std_log.txt")
    said = httpx.get(log, verify=azure.certificates.trust()).text
    assert (done.status, said) == ("Completed", "containers True\n")


def test_an_endpoint_needs_to_read_models_and_to_pull_images(
    azure: Cloud, ml: MLClient, workspace: ResourceId, tmp_path: Path
) -> None:
    from azure.ai.ml.entities import (
        IdentityConfiguration,
        ManagedIdentityConfiguration,
        ManagedOnlineDeployment,
        ManagedOnlineEndpoint,
    )
    from azure.core.exceptions import HttpResponseError

    identity = ground.make_identity(azure, "serves")
    registry = ground.put(
        azure, f"{workspace.scope}/providers/Microsoft.ContainerRegistry/registries/wsregistry"
    )
    azure.resources.require(workspace).properties["containerRegistry"] = registry.id.text
    mine = ManagedIdentityConfiguration(resource_id=identity.id.text)
    ml.online_endpoints.begin_create_or_update(
        ManagedOnlineEndpoint(
            name="roles",
            auth_mode="key",
            identity=IdentityConfiguration(type="user_assigned", user_assigned_identities=[mine]),
        )
    ).result()

    def refused() -> str:
        asked = ManagedOnlineDeployment(
            name="blue",
            endpoint_name="roles",
            environment="e:1",
            instance_type=ground.SIZE,
            instance_count=1,
        )
        with pytest.raises(HttpResponseError) as error:
            ml.online_deployments.begin_create_or_update(asked).result()
        return str(error.value)

    assert f"'serves' does not have the role {READER}" in refused()
    azure.roles.grant(principal(azure, "serves"), READER, storage(azure))
    assert "'serves' does not have the role AcrPull" in refused()
    azure.roles.grant(principal(azure, "serves"), "AcrPull", registry.id.text)
    assert "has nothing to run" in refused()  # the image is a name that nobody can pull here
    ml.online_endpoints.begin_delete("roles").result()
    billed = [one.resource for one in azure.ledger.by_the_hour()]
    assert not any("/onlineEndpoints/" in resource for resource in billed)


def test_an_identity_that_is_not_there_is_refused(azure: Cloud, workspace: ResourceId) -> None:
    from emulator.arm.errors import ArmError

    with pytest.raises(ArmError, match="was not found"):
        ground.make_cluster(azure, workspace, name="x", identity=f"{workspace.scope}/providers/a/b")
