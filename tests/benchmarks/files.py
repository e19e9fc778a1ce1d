"""What a file costs in time and memory, beside litellm alone: ``python -m tests.benchmarks.files``.

The local model server runs in a process of its own. Medians of 7, interleaved.
"""

import base64
import os
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable

from tests.benchmarks.site import EXAMPLE

MIB = 1024 * 1024
PORT = 18765
BASE = f"http://127.0.0.1:{PORT}"


def main() -> None:
    sys.path.insert(0, str(EXAMPLE))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clinic.settings")
    import django
    from django.test.utils import override_settings

    django.setup()
    server = [sys.executable, "-W", "ignore", "-m", "zango_ai.testing.model_server", "--port", str(PORT)]
    with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            with override_settings(ZANGO_AI={"ALLOWED_API_BASES": [BASE]}):
                measure()
        finally:
            process.terminate()


def measure() -> None:
    from zango_ai import LLMFile, LLMMessage
    from zango_ai.providers import calls, litellm_import
    from zango_ai.types import ModelRequest, ProviderSpec

    litellm = litellm_import.load()
    credentials = {"api_key": "sk-bench", "api_base": f"{BASE}/v1"}
    provider = ProviderSpec(1, "bench", "openai", credentials, "gpt-4o-mini", is_enabled=True)

    def ask(*files: LLMFile) -> None:
        question = (LLMMessage("user", "hi", files=files),)
        calls.prepare(provider, ModelRequest("gpt-4o-mini", question, 0.0, 10, 60.0)).send()

    def ask_litellm(content: bytes) -> None:
        data = "data:application/pdf;base64," + base64.b64encode(content).decode()
        parts = [{"type": "file", "file": {"file_data": data, "filename": "a.pdf"}}, {"type": "text", "text": "hi"}]
        messages = [{"role": "user", "content": parts}]
        litellm.completion("openai/gpt-4o-mini", messages, max_tokens=10, max_retries=0, **credentials)

    def pdf(content: bytes) -> LLMFile:
        return LLMFile.from_bytes(content, "application/pdf")

    ask(pdf(b"%PDF-1.4"))
    ask_litellm(b"%PDF-1.4")
    for size in (5, 20):
        content = b"%PDF-1.4" + os.urandom(size * MIB - 8)
        kept = pdf(content)
        kept.encoded()
        times = interleaved(
            {
                "first round": lambda content=content: ask(pdf(content)),
                "a further round": lambda kept=kept: ask(kept),
                "litellm alone": lambda content=content: ask_litellm(content),
                "no file": ask,
            }
        )
        print(f"{size} MiB: " + ", ".join(f"{name} {ms:.0f} ms" for name, ms in times.items()))
        ours = peak(lambda size=size: ask(pdf(random_pdf(size)))) / (size * MIB)
        theirs = peak(lambda size=size: ask_litellm(random_pdf(size))) / (size * MIB)
        print(f"        peak memory {ours:.1f} times its size; litellm alone {theirs:.1f}")


def random_pdf(size: int) -> bytes:
    content = bytearray(size * MIB)
    content[:8] = b"%PDF-1.4"
    return bytes(content)


def interleaved(works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Milliseconds, median."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(7):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            times[name].append((time.perf_counter() - started) * 1000)
    return {name: statistics.median(values) for name, values in times.items()}


def peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    work()
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return used


if __name__ == "__main__":
    main()
