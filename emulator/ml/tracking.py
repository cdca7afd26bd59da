"""MLflow's tracking API, as much of it as Azure ML has: experiments, runs, what they log.

Logged models of MLflow 3 are answered with 404, as Azure ML does; so are registered models, which
are assets here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any  # Any: JSON

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.arm.calls import Call
from emulator.arm.errors import ArmError
from emulator.arm.ids import ResourceId
from emulator.ml.data_plane import workspace_route
from emulator.ml.runs import Run
from emulator.ml.workspaces import data_plane

if TYPE_CHECKING:
    from emulator.cloud import Cloud

_STATUS = {"Completed": "FINISHED", "Failed": "FAILED", "Canceled": "KILLED", "Running": "RUNNING"}
_MOST_PARAMETERS = 200  # of a run
_LONGEST_PARAMETER = 500
_EQUALS = re.compile(r"(\w+)\.[`\"]?([^`\"=]+?)[`\"]?\s*=\s*['\"]([^'\"]*)['\"]")

Answered = dict[str, Any]
Operation = Callable[["Tracking", Answered], Answered]


def routes(cloud: Cloud) -> list[Route]:
    """Answer for MLflow's clients."""

    def handle(workspace: ResourceId, call: Call) -> Response:
        name = call.names["operation"].removeprefix("preview/").removeprefix("mlflow/")
        operation = _OPERATIONS.get(name)
        if operation is None:
            return _refused(404, "ENDPOINT_NOT_FOUND", f"Azure ML does not have {name}.")
        try:
            return JSONResponse(operation(Tracking(cloud, workspace), {**call.query, **call.body}))
        except ArmError as error:
            code = "RESOURCE_DOES_NOT_EXIST" if error.status == 404 else "INVALID_PARAMETER_VALUE"
            return _refused(error.status, code, error.message)

    paths = (f"/mlflow/{version}{{ws}}/api/2.0/{{operation:path}}" for version in ("v1.0", "v2.0"))
    return [workspace_route(cloud, "GET POST PATCH", path, handle) for path in paths]


class Tracking:
    """MLflow's operations in one workspace."""

    def __init__(self, cloud: Cloud, workspace: ResourceId) -> None:
        self._cloud, self._workspace, self._runs = cloud, workspace, cloud.ml.runs

    def create_experiment(self, asked: Answered) -> Answered:
        return {"experiment_id": self._runs.experiment_id(self._workspace, asked["name"])}

    def get_experiment(self, asked: Answered) -> Answered:
        for name, id in self._runs.experiments(self._workspace).items():
            if asked.get("experiment_id") == id or asked.get("experiment_name") == name:
                return {"experiment": _experiment(name, id)}
        raise ArmError(404, "UserError", f"There is no such experiment: {asked}.")

    def search_experiments(self, asked: Answered) -> Answered:
        known = self._runs.experiments(self._workspace)
        return {"experiments": [_experiment(name, id) for name, id in known.items()]}

    def create_run(self, asked: Answered) -> Answered:
        known = {id: name for name, id in self._runs.experiments(self._workspace).items()}
        if asked["experiment_id"] not in known:
            raise ArmError(404, "UserError", f"There is no experiment {asked['experiment_id']}.")
        name = known[asked["experiment_id"]]
        run = self._runs.begin(self._workspace, name, name=asked.get("run_name", ""))
        run.tags |= _pairs(asked.get("tags", ()))
        run.tracked = True
        run.become("Running")
        return self._shown(run)

    def get_run(self, asked: Answered) -> Answered:
        return self._shown(self._run(asked))

    def update_run(self, asked: Answered) -> Answered:
        run = self._run(asked)
        run.name = asked.get("run_name") or run.name
        ended = next((a for a, mlflow in _STATUS.items() if mlflow == asked.get("status")), None)
        if ended and run.tracked:  # how a job ended is not for MLflow to say
            run.become(ended)
        return {"run_info": self._shown(run)["run"]["info"]}

    def search_runs(self, asked: Answered) -> Answered:
        ids = asked.get("experiment_ids") or []
        experiments = self._runs.experiments(self._workspace)
        wanted = _EQUALS.findall(asked.get("filter") or "")
        found = [
            run
            for run in reversed(self._runs.of(self._workspace))
            if (not ids or experiments[run.experiment] in ids)
            and all(_has(run, *one) for one in wanted)
        ]
        most = int(asked.get("max_results") or 1000)
        return {"runs": [self._shown(run)["run"] for run in found[:most]]}

    def log_metric(self, asked: Answered) -> Answered:
        return self._log(asked, metrics=[asked])

    def log_parameter(self, asked: Answered) -> Answered:
        return self._log(asked, parameters=[asked])

    def set_tag(self, asked: Answered) -> Answered:
        return self._log(asked, tags=[asked])

    def delete_tag(self, asked: Answered) -> Answered:
        self._run(asked).tags.pop(asked["key"], None)
        return {}

    def log_batch(self, asked: Answered) -> Answered:
        lists = (asked.get(key) or [] for key in ("metrics", "params", "tags"))
        return self._log(asked, *lists)

    def metric_history(self, asked: Answered) -> Answered:
        run, key = self._run(asked), asked["metric_key"]
        return {"metrics": [one for one in run.metrics if one["key"] == key]}

    def _log(
        self,
        asked: Answered,
        metrics: Iterable[Answered] = (),
        parameters: Iterable[Answered] = (),
        tags: Iterable[Answered] = (),
    ) -> Answered:
        run = self._run(asked)
        with self._runs.lock:
            new = _pairs(parameters)
            for key, value in new.items():
                if len(value) > _LONGEST_PARAMETER:
                    message = (
                        f"The parameter '{key}' has more than {_LONGEST_PARAMETER} characters."
                    )
                    raise ArmError(400, "UserError", message)
                if run.parameters.get(key, value) != value:
                    message = f"The parameter '{key}' has a value already; it cannot be changed."
                    raise ArmError(400, "UserError", message)
            if len(run.parameters | new) > _MOST_PARAMETERS:
                message = f"A run has at most {_MOST_PARAMETERS} parameters."
                raise ArmError(400, "UserError", message)
            run.parameters |= new
            run.tags |= _pairs(tags)
            run.metrics += [_metric(one) for one in metrics]
        return {}

    def _run(self, asked: Answered) -> Run:
        return self._runs.require(self._workspace, asked.get("run_id") or asked.get("run_uuid", ""))

    def _shown(self, run: Run) -> Answered:
        region = self._cloud.resources.require(self._workspace).region
        experiment = f"{self._workspace}/experiments/{run.experiment}/runs/{run.id}"
        newest = {one["key"]: one for one in run.metrics}
        return {
            "run": {
                "info": {
                    "run_id": run.id,
                    "run_uuid": run.id,
                    "run_name": run.name,
                    "experiment_id": self._runs.experiment_id(self._workspace, run.experiment),
                    "user_id": "caller",
                    "status": _STATUS.get(run.status, "SCHEDULED"),
                    "start_time": run.created_ms,
                    "end_time": run.ended_ms,
                    "lifecycle_stage": "active",
                    "artifact_uri": f"azureml://{data_plane(region)}/mlflow/v1.0{experiment}/artifacts",
                },
                "data": {
                    "params": _listed(run.parameters),
                    "metrics": list(newest.values()),
                    "tags": _listed({**run.tags, "mlflow.runName": run.name}),
                },
                "inputs": {},
            }
        }


_OPERATIONS: dict[str, Operation] = {
    "experiments/create": Tracking.create_experiment,
    "experiments/get": Tracking.get_experiment,
    "experiments/get-by-name": Tracking.get_experiment,
    "experiments/search": Tracking.search_experiments,
    "experiments/list": Tracking.search_experiments,
    "runs/create": Tracking.create_run,
    "runs/get": Tracking.get_run,
    "runs/update": Tracking.update_run,
    "runs/search": Tracking.search_runs,
    "runs/log-metric": Tracking.log_metric,
    "runs/log-parameter": Tracking.log_parameter,
    "runs/set-tag": Tracking.set_tag,
    "runs/delete-tag": Tracking.delete_tag,
    "runs/log-batch": Tracking.log_batch,
    "metrics/get-history": Tracking.metric_history,
}


def _experiment(name: str, id: str) -> Answered:
    return {
        "experiment_id": id,
        "name": name,
        "artifact_location": "",
        "lifecycle_stage": "active",
        "tags": [],
    }


def _metric(given: Answered) -> Answered:
    return {
        "key": given["key"],
        "value": given["value"],
        "timestamp": int(given.get("timestamp") or time.time() * 1000),
        "step": int(given.get("step") or 0),
    }


def _has(run: Run, kind: str, key: str, value: str) -> bool:
    if kind.startswith("tag"):
        return run.tags.get(key) == value
    if kind.startswith("param"):
        return run.parameters.get(key) == value
    shown = {"status": _STATUS.get(run.status, "SCHEDULED"), "run_name": run.name, "run_id": run.id}
    return shown.get(key) == value


def _pairs(given: Iterable[Answered]) -> dict[str, str]:
    return {one["key"]: str(one["value"]) for one in given}


def _listed(given: dict[str, str]) -> list[Answered]:
    return [{"key": key, "value": value} for key, value in given.items()]


def _refused(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error_code": code, "message": message}, status)
