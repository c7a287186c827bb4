"""Reads an ESRGAN that was saved as TensorFlow.js layers and writes it down as an ONNX graph."""

import json
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

OPSET = 17
PICTURE = (1, "height", "width", 3)


def graph(folder: Path) -> ModelProto:
    """The model of a folder with `model.json` and one shard of float32 weights, picture in and picture out."""
    saved = json.loads((folder / "model.json").read_text())
    topology = saved["modelTopology"]["model_config"]["config"]
    source, sink = topology["input_layers"][0][0], topology["output_layers"][0][0]
    constants = weights(folder, saved["weightsManifest"][0])
    nodes = [helper.make_node("Transpose", ["picture"], [source], perm=[0, 3, 1, 2])]
    for layer in topology["layers"]:
        if layer["class_name"] != "InputLayer":
            nodes.append(node(layer, constants))
    nodes.append(helper.make_node("Transpose", [sink], ["larger"], perm=[0, 2, 3, 1]))
    doors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, PICTURE) for name in ("picture", "larger")]
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    body = helper.make_graph(nodes, "esrgan", doors[:1], doors[1:], initializers)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def weights(folder: Path, manifest: dict) -> dict[str, np.ndarray]:
    """The arrays of the shard by name, the kernels turned from height-width-in-out to ONNX's out-in-height-width."""
    shard = np.fromfile(folder / manifest["paths"][0], dtype="<f4")
    arrays, start = {}, 0
    for entry in manifest["weights"]:
        size = int(np.prod(entry["shape"]))
        array = shard[start : start + size].reshape(entry["shape"])
        arrays[entry["name"]] = np.ascontiguousarray(array.transpose(3, 2, 0, 1)) if array.ndim == 4 else array
        start += size
    return arrays


def node(layer: dict, constants: dict[str, np.ndarray]):
    """One layer as one ONNX node; the channels come second here, where TensorFlow has them last."""
    name, config = layer["name"], layer["config"]
    inputs = [inbound[0] for inbound in layer["inbound_nodes"][0]]
    match layer["class_name"]:
        case "Conv2D":
            pad = config["kernel_size"][0] // 2
            return helper.make_node("Conv", [*inputs, f"{name}/kernel", f"{name}/bias"], [name], pads=[pad] * 4)
        case "Activation":
            return helper.make_node("Relu", inputs, [name])
        case "Add":
            return helper.make_node("Add", inputs, [name])
        case "Concatenate":
            return helper.make_node("Concat", inputs, [name], axis=1)
        case "UpSampling2D":
            constants[f"{name}/scales"] = np.array([1, 1, *config["size"]], dtype=np.float32)
            return helper.make_node(
                "Resize",
                [*inputs, "", f"{name}/scales"],
                [name],
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
    raise ValueError(f"no ONNX node for a {layer['class_name']} layer")
