"""The clients of `tests/bench`, a process of their own: reads from its input whom to ask and how, and prints what came of it, both as JSON."""

import asyncio
import json
import sys
import time

# Instances start and caches fill in it; nothing of it is counted.
WARM_SECONDS = 0.4
REFUSED_PAUSE_SECONDS = 0.001
ANSWER_SECONDS_MAX = 60


class Load:
    def __init__(self, order: dict):
        self.host, port = order["address"].split(":")
        self.port = int(port)
        self.request = order["request"].encode()
        self.clients = order["clients"]
        self.begin = time.perf_counter() + WARM_SECONDS
        self.end = self.begin + order["seconds"]
        self.latencies: list[float] = []
        self.refused = 0

    async def run(self) -> dict:
        await asyncio.gather(*(self.client() for _ in range(self.clients)))
        latencies = sorted(self.latencies)
        assert latencies, "nothing succeeded in the time that was measured"
        at = lambda part: latencies[min(len(latencies) - 1, int(len(latencies) * part))] * 1000
        return {"per_second": len(latencies) / (self.end - self.begin), "p50_ms": at(0.5), "p99_ms": at(0.99), "refused": self.refused}

    async def client(self) -> None:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        while (asked := time.perf_counter()) < self.end:
            while not await asyncio.wait_for(self.ask(reader, writer), ANSWER_SECONDS_MAX):
                self.refused += self.begin <= time.perf_counter() < self.end
                await asyncio.sleep(REFUSED_PAUSE_SECONDS)
                if time.perf_counter() >= self.end:
                    break
            else:
                answered = time.perf_counter()
                if asked >= self.begin and answered < self.end:
                    self.latencies.append(answered - asked)
        writer.close()

    async def ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Sends the request; whether it was taken and its prediction succeeded."""
        writer.write(self.request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        _, _, after = head.partition(b"content-length:")
        body = await reader.readexactly(int(after.split(b"\r\n", 1)[0]))
        if not head.startswith(b"http/1.1 2"):
            return False
        assert b'"status":"succeeded"' in body, body[:2000]
        return True


if __name__ == "__main__":
    print(json.dumps(asyncio.run(Load(json.load(sys.stdin)).run())))
