"""Write a model that is converted for OpenVINO once more, with smaller weights.

    python compress.py SOURCE TARGET bf16|int8|int4

Runs as a plain script in the side environment `openvino`; nothing of hieno is imported there.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any  # graphs are untyped in OpenVINO

MODEL = "openvino_model"
GROUP = 64  # weights of int4 that share a scale; a layer that it does not divide gets the next less
SMALL = 4096  # numbers: what holds fewer is no weight matrix, and stays as it is


def compress(source: Path, target: Path, weights: str) -> None:
    """Copy a converted model into `target`, an existing folder, with weights in another format."""
    import openvino

    model = openvino.Core().read_model(source / f"{MODEL}.xml")
    model = to_bf16(model) if weights == "bf16" else to_integers(model, weights)
    openvino.save_model(model, target / f"{MODEL}.xml", compress_to_fp16=False)
    for path in source.iterdir():
        if path.is_file() and path.stem != MODEL and path.name != "manifest.json":
            shutil.copy2(path, target / path.name)


def to_bf16(model: Any) -> Any:
    """Keep each weight matrix in bfloat16, and the arithmetic as it is."""
    import openvino
    from openvino import opset13

    for node in list(model.get_ops()):
        if node.get_type_name() != "Constant" or node.get_element_type() != openvino.Type.f32:
            continue
        if node.get_output_size() != 1 or len(node.data.shape) < 2 or node.data.size < SMALL:
            continue
        readers = list(node.output(0).get_target_inputs())
        kept = opset13.constant(node.data, dtype=openvino.Type.bf16)
        widened = opset13.convert(kept, "f32")
        widened.get_rt_info()["decompression"] = ""  # else it is folded away when it is read
        for reader in readers:
            reader.replace_source_output(widened.output(0))
    model.validate_nodes_and_infer_types()
    return model


def to_integers(model: Any, weights: str) -> Any:
    """Keep each weight matrix as integers with a scale; the embedding never in less than 8 bits."""
    import nncf

    if weights == "int8":
        return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
    return nncf.compress_weights(
        model,
        mode=nncf.CompressWeightsMode.INT4_ASYM,
        ratio=1.0,
        group_size=GROUP,
        advanced_parameters=nncf.AdvancedCompressionParameters(
            group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST
        ),
    )


if __name__ == "__main__":
    compress(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
