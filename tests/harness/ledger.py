"""The laws of predictions and money, read from the database itself and not from what the server says."""

import sqlite3
from pathlib import Path

# Each query lists what breaks one law, and so should find nothing.
LAWS = {
    "every transaction sums to zero": "select tx, sum(amount) from ledger_entry group by tx having sum(amount) <> 0",
    "every transaction has entries": "select id from ledger_tx where id not in (select tx from ledger_entry)",
    "every entry has its transaction": "select tx from ledger_entry where tx not in (select id from ledger_tx)",
    "every balance is the sum of its entries": """
        select account, sum(amount) from (
            select account, amount from ledger_entry union all select account, -amount from balance
        ) group by account having sum(amount) <> 0""",
    "no caller's balance is below zero": "select account from balance where amount < 0 and (account like 'credit:%' or account like 'held:%')",
    "every prediction has ended": "select id, state from prediction where completed_at is null",
    "no prediction is held or settled twice": """
        select prediction_id, kind, count(*) from ledger_tx where kind in ('hold', 'capture', 'void')
        group by prediction_id, kind = 'hold' having count(*) > 1""",
    "every hold is settled": """
        select prediction_id from ledger_tx where kind = 'hold'
        and prediction_id not in (select prediction_id from ledger_tx where kind in ('capture', 'void'))""",
    "nothing is settled that was not held": """
        select prediction_id from ledger_tx where kind in ('capture', 'void')
        and prediction_id not in (select prediction_id from ledger_tx where kind = 'hold')""",
    "every prediction that held something is in the ledger": """
        select id from prediction where hold > 0 and id not in (select prediction_id from ledger_tx where kind = 'hold')""",
    "what was captured is the cost, and no more than was held": """
        select p.id, p.cost, p.hold, sum(e.amount) from prediction p
        join ledger_tx t on t.prediction_id = p.id and t.kind in ('hold', 'capture', 'void')
        join ledger_entry e on e.tx = t.id and e.account = 'credit:' || p.account_id
        where p.completed_at is not null
        group by p.id having sum(e.amount) <> -p.cost or p.cost > p.hold""",
    "what failed is free": "select id, cost from prediction where state in ('failed', 'aborted') and cost <> 0",
    "nothing is left held": "select account, amount from balance where account like 'held:%' and amount <> 0",
    "times are in order": "select id from prediction where started_at < created_at or completed_at < coalesce(started_at, created_at)",
}


def violations(home: Path) -> list[str]:
    """Every law that is broken in the database of a home where nothing runs any more."""
    database = sqlite3.connect(f"file:{home / 'feira.db'}?mode=ro", uri=True)
    try:
        found = []
        for law, query in LAWS.items():
            rows = database.execute(query).fetchall()
            if rows:
                found.append(f"not so: {law}: {len(rows)} rows, such as {rows[:3]}")
        return found
    finally:
        database.close()
