"""What an account used, added up: the same money as on its predictions."""

import csv
import json
from decimal import Decimal

from harness.api import problem
from harness.server import Server


def test_usage_by_each_key_is_the_sum_of_the_predictions(server: Server, published):
    token = server.account("spender", "5")
    api = server.api(token)
    version = published("echo")
    runs = [api.run(version, {"text": text}) for text in ("a", "b", "c")]
    spent = sum(Decimal(run["cost"]) for run in runs)
    for by in ("day", "model", "token", "hardware"):
        used = api.get("/v1/account/usage", params={"group_by": by}).json()
        assert (used["group_by"], Decimal(used["cost"])) == (by, spent)
        assert [(row["predictions"], row["succeeded"]) for row in used["rows"]] == [(3, 3)]
    by_model = api.get("/v1/account/usage", params={"group_by": "model"}).json()["rows"][0]
    assert by_model["key"] == runs[0]["model"]
    assert by_model["run_us"] == sum(run["timings"]["predict_us"] for run in runs)
    # A time of which nothing was used, and somebody else.
    assert api.get("/v1/account/usage", params={"to": "2020-01-01T00:00:00Z"}).json()["rows"] == []
    assert server.api(server.account("frugal")).get("/v1/account/usage").json()["rows"] == []


def test_usage_is_a_table_for_spreadsheets_and_for_the_command_line(server: Server, published):
    token = server.account("accountant", "5")
    run = server.api(token).run(published("echo"), {"text": "a"})
    answer = server.api(token).get("/v1/account/usage", headers={"accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv"
    (row,) = csv.DictReader(answer.text.splitlines())
    assert (row["day"], row["predictions"], Decimal(row["cost_usd"])) == (run["completed_at"][:10], "1", Decimal(run["cost"]))
    assert server.feira("usage", "--csv", token=token).stdout == answer.text.replace("\r\n", "\n")
    assert json.loads(server.feira("--json", "usage", "--by", "model", token=token).stdout)["rows"][0]["key"] == run["model"]
    assert run["model"] in server.feira("usage", "--by", "model", token=token).stdout


def test_a_key_a_form_or_a_time_that_there_is_not_is_a_problem(api):
    for wrong in ({"group_by": "colour"}, {"format": "xml"}, {"from": "yesterday"}):
        problem(api.get("/v1/account/usage", params=wrong), 400)
