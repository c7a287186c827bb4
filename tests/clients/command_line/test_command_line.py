"""The command line against the demo server, as the README shows it."""

import json

from PIL import Image

from harness.server import Server


def test_run_answers_on_standard_output(demo: Server):
    assert demo.feira("run", "feira/hello-world", "name=Ada").stdout == "hello Ada\n"


def test_run_streams_a_language_model(demo: Server):
    done = demo.feira("run", "feira/smol-chat", "prompt=What is the capital of France?", "temperature=0", "max_tokens=32", "--stream")
    assert "Paris" in done.stdout


def test_run_sends_a_file_and_tells_where_the_picture_is(demo: Server, tmp_path):
    Image.new("RGB", (20, 20), "red").save(tmp_path / "in.png")
    done = demo.feira("run", "--json", "feira/upscale", f"image=@{tmp_path / 'in.png'}")
    prediction = json.loads(done.stdout)
    assert prediction["status"] == "succeeded" and prediction["output"].startswith(("http", "data:"))


def test_the_exit_code_says_what_went_wrong(demo: Server):
    assert demo.feira("run", "feira/embed", "text_batch=no", check=False).returncode == 1
    assert demo.feira("run", "feira/hello-world", "delay_ms=soon", check=False).returncode == 2
    assert demo.feira("whoami", token="fe_" + "x" * 40, check=False).returncode == 3
    assert demo.feira("models", "show", "feira/nothing", check=False).returncode == 4


def test_predictions_logs_and_whoami_are_told(demo: Server):
    ran = json.loads(demo.feira("run", "--json", "feira/hello-world").stdout)
    listed = json.loads(demo.feira("predictions", "list", "--json").stdout)
    assert listed[0]["id"] == ran["id"]
    assert json.loads(demo.feira("predictions", "show", "--json", ran["id"]).stdout)["output"] == "hello world"
    demo.feira("logs", ran["id"])
    assert demo.feira("whoami").stdout == "feira\n"
    assert "feira/smol-chat" in demo.feira("models", "list").stdout
