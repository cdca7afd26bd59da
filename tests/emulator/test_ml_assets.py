"""Assets through azure-ai-ml: versions that do not change, and content that is sent once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import ground
import pytest
from ground import write

from emulator.arm.ids import ResourceId
from emulator.cloud import Cloud

if TYPE_CHECKING:
    from azure.ai.ml import MLClient


def test_a_version_keeps_its_content_and_its_tags_can_change(ml: MLClient, tmp_path: Path) -> None:
    from azure.ai.ml.entities import Model
    from azure.core.exceptions import HttpResponseError

    one = write(tmp_path / "one", w_txt="1")
    made = ml.models.create_or_update(Model(name="kept", version="1", path=one))
    made.tags = {"champion": "yes"}
    assert ml.models.create_or_update(made).tags == {"champion": "yes"}
    other = write(tmp_path / "other", w_txt="2")
    with pytest.raises((HttpResponseError, Exception), match=r"cannot be changed|already"):
        ml.models.create_or_update(Model(name="kept", version="1", path=other))
    assert ml.models.create_or_update(Model(name="kept", path=other)).version == "2"
    assert [one.version for one in ml.models.list("kept")] == ["2", "1"]
    assert ml.models.get("kept", label="latest").version == "2"


def test_code_that_is_there_is_not_sent_again(
    azure: Cloud, workspace: ResourceId, ml: MLClient, tmp_path: Path
) -> None:
    from azure.ai.ml import command
    from azure.ai.ml.entities import Environment

    code = write(tmp_path / "code", main_py="print(1)\n")
    environment = Environment(image="mcr.example/x:1", name="e", version="1")

    def sent() -> int:
        job = command(code=code, command="true", environment=environment, compute=ground.CLUSTER)
        run = azure.ml.runs.require(workspace, ml.jobs.create_or_update(job).name)
        assert run.over.wait(30)
        calls = [one.path for one in azure.trace.exchanges if one.method == "POST"]
        return sum(path.lower().endswith("/startpendingupload") for path in calls)

    assert sent() == sent()


def test_a_data_asset_is_read_by_a_job(
    azure: Cloud, workspace: ResourceId, ml: MLClient, tmp_path: Path
) -> None:
    from azure.ai.ml import Input, command
    from azure.ai.ml.entities import Data, Environment

    path = write(tmp_path / "chats", x_txt="hello")
    data = ml.data.create_or_update(Data(name="chats", version="1", path=path, type="uri_folder"))
    job = command(
        command="grep -q hello ${{inputs.chats}}/x.txt",
        environment=Environment(image="mcr.example/x:1", name="e", version="1"),
        compute=ground.CLUSTER,
        inputs={"chats": Input(type="uri_folder", path=data.id)},
    )
    run = azure.ml.runs.require(workspace, ml.jobs.create_or_update(job).name)
    assert run.over.wait(30)
    assert (run.status, run.error) == ("Completed", None)
    assert run.id in [one.name for one in ml.jobs.list()]


@pytest.mark.parametrize("name", ["with.dot", "-dash", "a" * 256])
def test_a_name_that_azure_does_not_take_is_refused(
    azure: Cloud, workspace: ResourceId, name: str
) -> None:
    from emulator.arm.errors import ArmError
    from emulator.ml.assets import _check_name

    with pytest.raises(ArmError, match="is no name"):
        _check_name("models", name, "1")
