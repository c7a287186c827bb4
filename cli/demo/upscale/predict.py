"""Makes a picture two or four times larger, with edges that an ordinary resize would blur."""

import os
import tempfile

import numpy as np
import onnxruntime
from cog import BasePredictor, Input, Path
from PIL import Image, ImageOps

from esrgan import graph

PIXELS_MAX = 1024 * 1024
# A picture is enlarged tile by tile: memory stays small, and a cancel is heard between two of them.
TILE = 128
# How far the network looks, the sum of its kernels' radii: with this margin a tile comes out as it would in the whole.
REACH = 10


class Predictor(BasePredictor):
    def setup(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        self.sessions = {
            scale: onnxruntime.InferenceSession(
                graph(Path(f"weights/x{scale}")).SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            for scale in (2, 4)
        }

    def predict(
        self,
        image: Path = Input(description="The picture to enlarge: PNG, JPEG or WebP, at most a megapixel"),
        scale: int = Input(description="How many times larger each side becomes", default=2, choices=[2, 4]),
    ) -> Path:
        picture = Image.open(image)
        if picture.width * picture.height > PIXELS_MAX:
            raise ValueError(f"the picture has {picture.width} × {picture.height} pixels; at most a megapixel is taken")
        upright = ImageOps.exif_transpose(picture).convert("RGB")
        larger = enlarge(self.sessions[scale], np.asarray(upright, dtype=np.float32), scale)
        output = Path(tempfile.mkdtemp()) / "larger.png"
        Image.fromarray(larger).save(output)
        return output


def enlarge(session: onnxruntime.InferenceSession, pixels: np.ndarray, scale: int) -> np.ndarray:
    height, width, channels = pixels.shape
    larger = np.empty((height * scale, width * scale, channels), dtype=np.uint8)
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            up, before = max(0, top - REACH), max(0, left - REACH)
            seen = pixels[np.newaxis, up : top + TILE + REACH, before : left + TILE + REACH]
            (tile,) = session.run(None, {"picture": seen})
            kept = tile[0, (top - up) * scale :, (left - before) * scale :][: TILE * scale, : TILE * scale]
            place = larger[top * scale :, left * scale :][: TILE * scale, : TILE * scale]
            place[:] = kept[: place.shape[0], : place.shape[1]].round().clip(0, 255)
    return larger
