"""Serves SmolLM2-135M-Instruct on llama.cpp's OpenAI-compatible server, on 127.0.0.1:$PORT, until SIGTERM.

The weights are mapped, not read: instances on one machine share their pages, and a warm start touches no disk.
"""

import os
import signal

from xllamacpp import CommonParams, Server

WEIGHTS = os.environ.get("FEIRA_WEIGHTS", "weights/SmolLM2-135M-Instruct.Q4_1.gguf")
CONVERSATIONS = 4
TOKENS_PER_CONVERSATION = 2048

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})

params = CommonParams()
params.model.path = WEIGHTS
params.model_alias = {"smol-chat"}
params.hostnames = ["127.0.0.1"]
params.port = int(os.environ["PORT"])
# The file's own template slips in a system prompt under which so small a model answers in French.
params.chat_template = "chatml"
params.n_parallel = CONVERSATIONS
params.n_ctx = CONVERSATIONS * TOKENS_PER_CONVERSATION
# One core stays free for whoever relays the tokens: with every core busy the rate falls by a factor of ten.
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = max(1, len(os.sched_getaffinity(0)) - 1)
params.cache_ram_mib = 0  # The default would keep eight gibibytes of old prompts.
params.ui = params.endpoint_slots = False

server = Server(params)
print(f"listening at {server.listening_address}", flush=True)
signal.sigwait({signal.SIGTERM, signal.SIGINT})
# Whoever sends the signal has let the conversations end; the server's own shutdown would hang on an open one.
os._exit(0)
