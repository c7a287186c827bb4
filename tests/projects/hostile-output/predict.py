"""Passes off a file that is not its own as its output: by its name, or through a link in its scratch directory."""

from cog import BasePredictor, Input, Path


class Predictor(BasePredictor):
    def predict(
        self,
        file: str = Input(description="The file"),
        linked: bool = Input(description="Whether to name it through a link"),
    ) -> Path:
        if not linked:
            return Path(file)
        link = Path("/tmp/output.txt")
        link.symlink_to(file)
        return link
