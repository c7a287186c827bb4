//! What a Cog predictor takes and gives, read from its source by Python's own parser in a limited child; nothing of it is run.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::cog::CogProject;
use super::{ProjectError, Tools};

/// The reader itself; it lowers its own limits of CPU time, memory and file size first.
const READER: &str = concat!(
    include_str!("read_predictor/source.py"),
    include_str!("read_predictor/literals.py"),
    include_str!("read_predictor/types.py"),
    include_str!("read_predictor/main.py"),
);
/// A thousand times what a long predictor takes.
const WALL_MAX: Duration = Duration::from_secs(30);

/// What the predictor's `predict` (or `run`) and, where there is one, its training function look like.
#[derive(Debug, Deserialize)]
pub struct Signature {
    pub predict: Door,
    #[serde(default)]
    pub train: Option<Door>,
}

/// One function: the schemas of its input and output, and of the choices that the input refers to.
#[derive(Debug, Deserialize)]
pub struct Door {
    pub input: Value,
    pub output: Value,
    #[serde(default)]
    pub enums: Map<String, Value>,
    /// Calls that the function takes at a time.
    #[serde(default)]
    pub concurrency: u32,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Error { error: String },
    Signature(Box<Signature>),
}

pub(super) async fn read(root: &Path, cog: &CogProject, tools: &Tools) -> Result<Signature, ProjectError> {
    let order = json!({"root": root, "predict": cog.predictor()?, "train": cog.train});
    let mut child = Command::new(tools.python()?)
        .args(["-I", "-S", "-c", READER])
        .env_clear()
        // A `python3` that is a script finds its shell here.
        .env("PATH", &tools.search_path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|_| ProjectError::Missing("python3"))?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let talk = async {
        stdin.write_all(order.to_string().as_bytes()).await?;
        drop(stdin);
        child.wait_with_output().await
    };
    let died = |how: &str| ProjectError::Predictor(format!("reading the predictor {how}"));
    let output = timeout(WALL_MAX, talk).await.map_err(|_| died("takes too long"))?.map_err(|_| died("broke off"))?;
    match serde_json::from_slice(&output.stdout) {
        Ok(Answer::Signature(signature)) => Ok(*signature),
        Ok(Answer::Error { error }) => Err(ProjectError::Predictor(error)),
        Err(_) => Err(died(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("broke off"))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::tools;
    use super::*;

    const HEAD: &str =
        "from enum import Enum\nfrom typing import *\nimport cog\nfrom cog import *\nfrom pydantic import BaseModel, Field\n";

    async fn read_files(files: &[(&str, &str)]) -> Result<Signature, String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, source) in files {
            fs::write(dir.path().join(name), source).unwrap();
        }
        fs::write(dir.path().join("cog.yaml"), "predict: predict.py:Predictor\n").unwrap();
        let cog = CogProject::read(dir.path()).unwrap().unwrap();
        read(dir.path(), &cog, &tools()).await.map_err(|error| error.to_string())
    }

    async fn read_source(source: &str) -> Result<Signature, String> {
        read_files(&[("predict.py", &format!("{HEAD}{source}"))]).await
    }

    async fn read_signature(before: &str, arguments: &str, returns: &str) -> Result<Signature, String> {
        let method = format!("{before}\nclass Predictor(BasePredictor):\n  def predict(self, {arguments}) -> {returns}: ...\n");
        read_source(&method).await
    }

    /// The one input of a predictor, and whether it is required.
    async fn input(before: &str, argument: &str) -> (Value, bool) {
        let door = read_signature(before, argument, "str").await.unwrap().predict;
        let (name, schema) = door.input["properties"].as_object().unwrap().iter().next().unwrap();
        let required = door.input["required"].as_array().is_some_and(|names| names.contains(&json!(name)));
        (schema.clone(), required)
    }

    #[tokio::test]
    async fn inputs_are_written_as_cog_writes_them() {
        let (yes, no) = (true, false);
        for (argument, schema, required) in [
            ("text: str", json!({"title": "Text", "type": "string", "x-order": 0}), yes),
            ("max_tokens: int = 5", json!({"title": "Max Tokens", "type": "integer", "default": 5, "x-order": 0}), no),
            (
                "x: float = Input(default=-0.5, ge=-1, le=1.5)",
                json!({"title": "X", "type": "number", "default": -0.5, "minimum": -1, "maximum": 1.5, "x-order": 0}),
                no,
            ),
            (
                "x: bool = Input(description='a' 'b', default=False)",
                json!({"title": "X", "type": "boolean", "default": false, "description": "ab", "x-order": 0}),
                no,
            ),
            (
                "x: str = Input(min_length=1, max_length=3, regex='^a')",
                json!({"title": "X", "type": "string", "minLength": 1, "maxLength": 3, "pattern": "^a", "x-order": 0}),
                yes,
            ),
            (
                "x: Path = Input(description='d', deprecated=True)",
                json!({"title": "X", "type": "string", "format": "uri", "description": "d", "deprecated": true, "x-order": 0}),
                yes,
            ),
            ("x: cog.File", json!({"title": "X", "type": "string", "format": "uri", "x-order": 0}), yes),
            (
                "x: Secret",
                json!({"title": "X", "type": "string", "format": "password", "writeOnly": true, "x-cog-secret": true, "x-order": 0}),
                yes,
            ),
            (
                "x: Secret = Input(default=None)",
                json!({"title": "X", "type": "string", "format": "password", "writeOnly": true, "x-cog-secret": true, "default": null, "nullable": true, "x-order": 0}),
                no,
            ),
            ("x: Optional[int] = None", json!({"title": "X", "type": "integer", "default": null, "nullable": true, "x-order": 0}), no),
            ("x: 'int | None' = Input(ge=0)", json!({"title": "X", "type": "integer", "minimum": 0, "nullable": true, "x-order": 0}), no),
            (
                "x: Union[str, None] = Input(default=None)",
                json!({"title": "X", "type": "string", "default": null, "nullable": true, "x-order": 0}),
                no,
            ),
            // None is no default of a type that is not optional: Cog's own rule.
            ("seed: int = Input(default=None)", json!({"title": "Seed", "type": "integer", "x-order": 0}), yes),
            ("x: List[Path]", json!({"title": "X", "type": "array", "items": {"type": "string", "format": "uri"}, "x-order": 0}), yes),
            (
                "x: list[str] = Input(default=[])",
                json!({"title": "X", "type": "array", "items": {"type": "string"}, "default": [], "x-order": 0}),
                no,
            ),
            ("x: dict = Input(default={'a': 1})", json!({"title": "X", "type": "object", "default": {"a": 1}, "x-order": 0}), no),
            ("x: Any", json!({"title": "X", "type": "object", "x-order": 0}), yes),
            ("x: Annotated[int, 'hm'] = 1 + 2 * 3", json!({"title": "X", "type": "integer", "default": 7, "x-order": 0}), no),
        ] {
            assert_eq!(input("", argument).await, (schema, required), "{argument}");
        }
    }

    #[tokio::test]
    async fn choices_become_a_schema_of_their_own() {
        let sizes = "SIZES = {'s': load(1), 'm': load}\nDEFAULT = 'm'\nclass Color(str, Enum):\n  RED = 'red'\n  BLUE = 'blue'\nFast = Literal[1, 2.5]";
        for (argument, kind, values, default) in [
            ("x: str = Input(choices=['a', 'b'], default='b')", "string", json!(["a", "b"]), json!("b")),
            ("x: str = Input(choices=list(SIZES.keys()), default=DEFAULT)", "string", json!(["s", "m"]), json!("m")),
            ("x: str = Input(choices=SIZES, default='s')", "string", json!(["s", "m"]), json!("s")),
            ("x: str = Input(choices=[c.value for c in Color], default='red')", "string", json!(["red", "blue"]), json!("red")),
            ("x: int = Input(choices=[*range(2, 9, 2)], default=4)", "integer", json!([2, 4, 6, 8]), json!(4)),
            ("x: Literal['a', 'b'] = 'a'", "string", json!(["a", "b"]), json!("a")),
            ("x: Fast = 1", "number", json!([1, 2.5]), json!(1)),
            ("x: Color = Input(default=Color.BLUE)", "string", json!(["red", "blue"]), json!("blue")),
        ] {
            let door = read_signature(sizes, argument, "str").await.unwrap().predict;
            let property = json!({"allOf": [{"$ref": "#/components/schemas/x"}], "default": default, "x-order": 0});
            assert_eq!(door.input["properties"]["x"], property, "{argument}");
            assert_eq!(
                door.enums["x"],
                json!({"title": "x", "description": "An enumeration.", "enum": values, "type": kind}),
                "{argument}"
            );
        }
    }

    #[tokio::test]
    async fn outputs_are_written_as_cog_writes_them() {
        let models = "class Box(BaseModel):\n  left: int\n  label: Optional[str] = None\nclass Out(BaseModel):\n  image: Path\n  boxes: list[Box]\n  note: str = Field(default='')\n  many: str = Field(...)";
        let a_box = json!({"type": "object", "required": ["left"], "properties": {"left": {"title": "Left", "type": "integer"}, "label": {"title": "Label", "type": "string", "nullable": true}}});
        for (returns, schema) in [
            ("str", json!({"title": "Output", "type": "string"})),
            ("Path", json!({"title": "Output", "type": "string", "format": "uri"})),
            ("List[Path]", json!({"title": "Output", "type": "array", "items": {"type": "string", "format": "uri"}})),
            ("list[list[float]]", json!({"title": "Output", "type": "array", "items": {"type": "array", "items": {"type": "number"}}})),
            (
                "Iterator[Path]",
                json!({"title": "Output", "type": "array", "items": {"type": "string", "format": "uri"}, "x-cog-array-type": "iterator"}),
            ),
            (
                "AsyncIterator[int]",
                json!({"title": "Output", "type": "array", "items": {"type": "integer"}, "x-cog-array-type": "iterator"}),
            ),
            (
                "cog.ConcatenateIterator[str]",
                json!({"title": "Output", "type": "array", "items": {"type": "string"}, "x-cog-array-type": "iterator", "x-cog-array-display": "concatenate"}),
            ),
            ("dict", json!({"title": "Output", "type": "object"})),
            ("dict[str, int]", json!({"title": "Output", "type": "object", "additionalProperties": {"type": "integer"}})),
            ("Any", json!({"title": "Output", "type": "object"})),
            (
                "Out",
                json!({"title": "Output", "type": "object", "required": ["image", "boxes", "many"], "properties": {
                "image": {"title": "Image", "type": "string", "format": "uri"}, "boxes": {"title": "Boxes", "type": "array", "items": a_box},
                "note": {"title": "Note", "type": "string"}, "many": {"title": "Many", "type": "string"}}}),
            ),
        ] {
            assert_eq!(read_signature(models, "", returns).await.unwrap().predict.output, schema, "{returns}");
        }
    }

    #[tokio::test]
    async fn what_only_running_it_would_tell_is_refused_with_its_place() {
        for (before, argument, returns, said) in [
            (
                "",
                "scale: int = Input(default=pick())",
                "str",
                "the default of `scale` at predict.py:8 is not a literal: write the value itself",
            ),
            ("N = 'a' * 999", "x: str = N", "str", "the default of `x` at predict.py:6 is not a literal: write the value itself"),
            ("", "x", "str", "the input `x` at predict.py:8 has no type: write `x: str` or its like"),
            ("", "x: np.ndarray", "str", "the input `x` at predict.py:8 has the type np.ndarray, which a schema cannot say"),
            ("", "x: int | str", "str", "the input `x` at predict.py:8 has the type int | str, which a schema cannot say"),
            ("", "x: str = Input(gt=1)", "str", "Input at predict.py:8 takes no `gt`"),
            ("", "x: str = Input(choices=['a'], default='b')", "str", "the default of `x` at predict.py:8 is none of its choices"),
            ("", "**more", "str", "predict at predict.py:8 takes * arguments: name every input"),
            ("", "x: float = 1e999", "str", "the default of `x` at predict.py:8 is inf, which JSON cannot write"),
            ("class Out: pass", "", "Out", "Out at predict.py:6 is no BaseModel, so its fields are unknown"),
        ] {
            assert_eq!(read_signature(before, argument, returns).await.map(drop), Err(said.to_owned()));
        }
        let untyped = "class Predictor:\n  def predict(self): ...";
        assert!(read_source(untyped).await.unwrap_err().contains("does not say what it returns"));
        assert_eq!(read_source("class Predictor: pass").await.map(drop), Err("`Predictor` in predict.py has no run or predict".to_owned()));
        assert!(read_source("def (").await.unwrap_err().starts_with("predict.py:6 is not Python"));
        assert_eq!(read_source("import torch").await.map(drop), Err("predict.py has no `Predictor`".to_owned()));
    }

    #[tokio::test]
    async fn a_predictor_may_be_a_function_a_runner_or_inherit_its_method() {
        let function = "def Predictor(text: str) -> str: ...";
        let runner = "class Predictor(BaseRunner):\n  def setup(self): ...\n  def run(self, text: str) -> str: ...";
        let heir = "class Base(BasePredictor):\n  def predict(self, text: str) -> str: ...\nclass Predictor(Base):\n  def setup(self): ...";
        for source in [function, runner, heir] {
            let door = read_source(source).await.unwrap().predict;
            assert_eq!(door.input["properties"]["text"]["type"], "string", "{source}");
            assert_eq!(door.concurrency, 1);
        }
    }

    #[tokio::test]
    async fn an_async_predictor_says_how_many_calls_it_takes_at_a_time() {
        let source = |decorator: &str, kind: &str| format!("class Predictor:\n  {decorator}\n  {kind} predict(self) -> str: ...");
        for (decorator, most) in
            [("@concurrent(max=8)", 8), ("@cog.concurrent(max=2 + 2)", 4), ("@cog.concurrent", 1), ("@cog.streaming", 1)]
        {
            assert_eq!(read_source(&source(decorator, "async def")).await.unwrap().predict.concurrency, most, "{decorator}");
        }
        let refused = read_source(&source("@cog.concurrent(max=8)", "def")).await.unwrap_err();
        assert_eq!(refused, "@concurrent at predict.py:7 needs an `async def`");
    }

    #[tokio::test]
    async fn constants_and_models_of_other_files_of_the_project_are_found() {
        let predict = "from cog import *\nfrom shapes import Out, SIZES as S\nimport shapes\nclass Predictor:\n  def predict(self, x: int = Input(choices=S), y: int = shapes.BEST) -> Out: ...";
        let shapes = "from pydantic import BaseModel\nSIZES = [1, 2]\nBEST = SIZES[1]\nclass Out(BaseModel):\n  n: int";
        let door = read_files(&[("predict.py", predict), ("shapes.py", shapes)]).await.unwrap().predict;
        assert_eq!(door.enums["x"]["enum"], json!([1, 2]));
        assert_eq!(door.input["properties"]["y"]["default"], 2);
        assert_eq!(door.output["properties"]["n"]["type"], "integer");
    }

    #[tokio::test]
    async fn a_source_made_to_exhaust_the_reader_only_fails() {
        let deep = format!("X = {}1{}\nclass Predictor:\n  def predict(self, x: int = X) -> str: ...", "-".repeat(5_000), "");
        assert!(read_source(&deep).await.is_err());
        let heirs = "class A(B): pass\nclass B(A): pass\nclass Predictor(A): pass";
        assert!(read_source(heirs).await.is_err());
        let circle = "A = B\nB = A\nclass Predictor:\n  def predict(self, x: int = A) -> str: ...";
        assert!(read_source(circle).await.unwrap_err().contains("not a literal"));
    }
}
