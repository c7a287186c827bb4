"""More databases in the PostgreSQL of a suite, for tests that start servers of their own."""

import subprocess


def fresh_database(url: str, name: str) -> str:
    """Makes an empty database beside the one of `url`, and says how it is reached."""
    name = name.replace("-", "_")
    done = subprocess.run(["psql", url, "--command", f"create database {name}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return f"{url.rpartition('/')[0]}/{name}"
