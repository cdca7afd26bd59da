"""Datasets of a hub by name, through the `datasets` library and its cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any  # a dataset's rows can hold anything

from hieno.data.sources import HubSet, Record
from hieno.errors import AccessDenied, MissingInput, Unreachable
from hieno.reporting import Reporter


def load(wanted: HubSet, reporter: Reporter) -> Any:
    """Return a split (or a slice of one) as a `datasets.Dataset`, downloaded or from the cache.

    A set that was loaded before is used from the cache where the hub does not answer.
    """
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    import datasets

    datasets.disable_progress_bars()
    reporter.progress(0, None, "rows", f"getting {wanted.name} {wanted.split}")
    with _errors_named(wanted):
        return datasets.load_dataset(
            wanted.name,
            wanted.subset,
            split=wanted.split,
            revision=wanted.revision,
            token=os.environ.get("HF_TOKEN"),
        )


def rows(dataset: Any) -> Iterator[Record]:
    """Yield the rows of a loaded set; the place of a row is its number from 1."""
    number = 0
    for batch in dataset.with_format("arrow").iter(batch_size=256):
        for value in batch.to_pylist():
            number += 1
            yield Record(number, value=value)


@contextmanager
def _errors_named(wanted: HubSet) -> Iterator[None]:
    """Say what the library's and the network's errors mean and what to do about each."""
    from datasets import exceptions
    from huggingface_hub import errors as hub

    transport: type[Exception] = vars(hub)["HTTPError"]
    try:
        yield
    except exceptions.DatasetNotFoundError as error:
        words = str(error).splitlines()[0]
        if "gated" in words:
            raise AccessDenied(
                words, hint="accept its conditions on its page, then set HF_TOKEN"
            ) from None
        raise MissingInput(
            f"data.source: {words}",
            hint="look the name up on the hub; a path of your own must exist; for a private set"
            " set HF_TOKEN",
        ) from None
    except (
        hub.OfflineModeIsEnabled,
        hub.LocalEntryNotFoundError,
        transport,
        ConnectionError,
    ) as error:
        if isinstance(error, hub.HfHubHTTPError) and error.response.status_code in (401, 403):
            raise AccessDenied(
                f"the hub refuses {wanted.name} (HTTP {error.response.status_code})",
                hint="set HF_TOKEN to a token that is valid and may read this set",
            ) from None
        raise Unreachable(
            f"{wanted.name} cannot be fetched: the hub does not answer ({type(error).__name__}),"
            " and it is not in the cache",
            hint="connect to the network, then type the same command again; or name files of your"
            " own in data.source",
        ) from None
    except (ValueError, exceptions.DatasetsError) as error:
        raise MissingInput(
            f"{wanted.name}: {str(error).splitlines()[0]}",
            hint="correct data.split (train_sft[:1%], train[:100]) or data.subset in hieno.yaml",
        ) from None
